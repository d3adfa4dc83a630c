"""What lies outside of the program's values: random numbers, clocks, files, the environment, output, settings."""
from __future__ import annotations

from stale import FOLLOW, RAISE, REPLAY, Change, Hazard

WORLD = (
    Hazard("the random module", """
        import random
        def f(x): return x * random.random() + random.choice([1, 2, 3])
        """,
        ("random.seed(3)", "random.seed(4)", "random = random.Random(5)"), mode=FOLLOW),
    Hazard("NumPy's global generator", """
        def f(x): return x * np.random.rand() + tg.tensor(np.random.randn(2))
        """,
        ("np.random.seed(3)", "np.random.seed(4)", "args = (x * 2,)"), mode=FOLLOW),
    Hazard("a NumPy generator", """
        rng = np.random.default_rng(0)
        def f(x): return x * rng.normal()
        """,
        ("rng = np.random.default_rng(1)", "rng.normal(size=3)", "rng = np.random.default_rng(1)"), mode=FOLLOW),
    Hazard("our own generators", """
        g = tg.Generator(3)
        def f(x): return x * tg.rand(2) + tg.randn(2, generator=g)
        """,
        ("tg.manual_seed(7)", "g.manual_seed(8)", "args = (tg.ones(2, dtype=tg.float64),)"),
        ("tg.manual_seed(9)", "tg.rand(5)", "g = tg.Generator(10)")),
    Hazard("clocks", """
        import time
        deadline = 0.0
        def f(x): return x * 2 if time.time() < deadline else x * 3
        """,
        ("deadline = 1e12", "deadline = 1.0", "deadline = float('inf')"), mode=FOLLOW),
    Hazard("a clock that is patched", """
        import time
        time.time = lambda: now
        now = 1.0
        def f(x): return x * time.time()
        """,
        ("now = 2.0", "time.time = lambda: 3.0", "time = type('fake', (), {'time': staticmethod(lambda: now * 4)})",
         "now = 5.0")),
    Hazard("dates", """
        import datetime
        limit = datetime.date(1, 1, 1)
        def f(x): return x * 2 if datetime.date.today() < limit else x * 3
        """,
        ("limit = datetime.date(9999, 1, 1)", "limit = limit.replace(year=2)", "limit = datetime.date.max"),
         mode=FOLLOW),
    Hazard("dates that are data", """
        import datetime
        d = datetime.date(2020, 1, 31)
        step = datetime.timedelta(days=1)
        def f(x): return x * (d + step).month
        """,
        ("d = d.replace(month=5)", "step = datetime.timedelta(days=0)", "d = datetime.datetime(2021, 11, 3)")),
    Hazard("os.environ", """
        import os
        os.environ['HAZARD_K'] = '2'
        def f(x): return x * float(os.environ['HAZARD_K']) + len(os.environ.get('HAZARD_M', ''))
        """,
        ("os.environ['HAZARD_K'] = '3'", "os.environ['HAZARD_M'] = 'abc'", "del os.environ['HAZARD_M']",
         "os.environ.update(HAZARD_K='5')"),
        settle=3),
    Hazard("files that are read", """
        from pathlib import Path
        p = Path('k.txt')
        p.write_text('2.0')
        def f(x):
            with open('k.txt') as file: return x * float(file.read())
        """,
        ("p.write_text('3.0')", Change("p.unlink()", RAISE), "p.write_text('4.0')", "p.write_text('5')"), mode=FOLLOW),
    Hazard("files that are written", """
        def f(x):
            with open('log.txt', 'a') as file: file.write(f'{k}\\n')
            return x * k
        k = 2.0
        """,
        ("k = 3.0", "open('log.txt', 'w').close(); k = 4.0", "k = 5.0"), mode=FOLLOW),
    Hazard("does a file exist?", """
        import os
        def f(x): return x * 2 if os.path.exists('a') else x * 3
        """,
        ("open('a', 'w').close()", "os.remove('a')", "os.mkdir('b'); os.chdir('b'); open('a', 'w').close()"),
         mode=FOLLOW),
    Hazard("our own files", """
        tg.save('w.npz', {'w': tg.ones(2)})
        def f(x): return x * tg.load('w.npz')['w']
        """,
        ("tg.save('w.npz', {'w': tg.zeros(2)})", "tg.save('w.npz', {'w': tg.ones(1) * 3})",
         "tg.save('w.npz', {'w': x})"), mode=FOLLOW),
    Hazard("stdin", """
        import sys
        def f(x): return x * float(sys.stdin.readline()) + int(input())
        """,
        ("sys.stdin.readline()", "import io; sys.stdin = io.StringIO('7\\n8\\n' * 20)", "sys.stdin.seek(2)",
         "sys.stdin = __import__('io').StringIO('30\\n4\\n' * 9)"), mode=FOLLOW),
    Hazard("id", """
        class C: pass
        a, b = C(), C()
        def f(x): return x * 2 if id(a) == id(b) else x * 3
        """,
        ("b = a", "b = C()", "a = b", "a = C()")),
    Hazard("hash by identity", """
        class C: pass
        a, b = C(), C()
        table = {a: 2.0, b: 3.0}
        def f(x): return x * table.get(a, 5.0)
        """,
        ("a = b", "a = C()", "table[a] = 7.0",
         "C.__hash__ = lambda s: 1; C.__eq__ = lambda s, o: True; table = {C(): 8.0}")),
    Hazard("hash of text", """
        s = 'abc'
        def f(x): return x * (hash(s) % 1000003 + 1)
        """,
        ("s = 'abd'", "s = b'abc'", "s = ('abc',)"),
        ("s = ('abc',)",)),
    Hazard("printing", """
        def f(x):
            print('k is', k)
            return x * k
        k = 2.0
        """,
        ("k = 3.0", Change("print = lambda *a: None", REPLAY), "del print; k = 4.0",
         "import sys; print = lambda *a: sys.stderr.write(str(a))"), mode=FOLLOW),
    Hazard("printing values of Tensors", """
        def f(x):
            y = x * k
            print('mean', float(y.mean()), y)
            return y.exp()
        k = 2.0
        """,
        ("k = 3.0", "args = (tg.ones(3),)", "k = tg.tensor(4.0)", "k.mul_(2)"), mode=FOLLOW),
    Hazard("logging", """
        import logging
        records = []
        class Keep(logging.Handler):
            def emit(self, record): records.append(record.getMessage())
        logger = logging.Logger('hazard')
        logger.addHandler(Keep())
        def f(x):
            logger.info('k is %s', k)
            return x * k
        k = 2.0
        """,
        ("k = 3.0", "logger.setLevel(logging.ERROR); k = 4.0", "logger.setLevel(logging.DEBUG); k = 5.0"), mode=FOLLOW),
    Hazard("logging that is off", """
        import logging
        logger = logging.Logger('hazard', logging.ERROR)
        def f(x):
            logger.info('k is %s', k)
            return x * k
        k = 2.0
        """,
        ("k = 3.0", "k = tg.ones(2)", "k = 5.0"), settle=3),
    Hazard("warnings", """
        import warnings
        def f(x):
            warnings.warn(f'k is {k}')
            return x * k
        k = 2.0
        """,
        ("k = 3.0", "k = 4.0", "warnings.simplefilter('ignore'); k = 5.0"), mode=FOLLOW),
    Hazard("a counter in an attribute", """
        class C: n = 0
        c = C()
        def f(x):
            c.n += 1
            return x * c.n
        """,
        ("c.n = 10", "del c.n; C.n = 20", "c = C(); c.n = 0.5"), mode=FOLLOW),
    Hazard("a counter in a dict", """
        from collections import Counter
        calls = Counter()
        def f(x):
            calls[tuple(x.shape)] += 1
            return x * sum(calls.values())
        """,
        ("calls.clear()", "calls['a'] = 5", "args = (tg.ones(3),)"), mode=FOLLOW),
    Hazard("a counter that is a Tensor", """
        n = tg.tensor(0.0)
        def f(x):
            n.add_(1)
            return x * n
        """,
        ("n = tg.tensor(0.0, dtype=tg.float64)", "n = tg.zeros(2)", "n = tg.zeros(1)"),
        ("n.mul_(0)", "n = tg.ones(1) * 5")),
    Hazard("lru_cache", """
        from functools import lru_cache
        @lru_cache
        def g(n): return n * k
        k = 2.0
        def f(x): return x * g(3)
        """,
        ("k = 5.0; g.cache_clear()", Change("g = lambda n: n", REPLAY), "g = lru_cache(lambda n: n * k)"), mode=FOLLOW),
    Hazard("lru_cache on Tensors", """
        from functools import lru_cache
        @lru_cache
        def g(x): return x * k
        k = 2.0
        def f(x): return g(x) + 1
        """,
        ("x.mul_(2); g.cache_clear()", "k = 3.0; args = (tg.ones(2),)", "k = 4.0; g.cache_clear()"), mode=FOLLOW),
    Hazard("context variables", """
        from contextvars import ContextVar
        v = ContextVar('v', default=2.0)
        def f(x): return x * v.get()
        """,
        ("v.set(3.0)", "v.set(4.0)", "v = ContextVar('v', default=5.0)"), mode=FOLLOW),
    Hazard("variables of a thread", """
        import threading
        t = threading.local(); t.k = 2.0
        def f(x): return x * t.k
        """,
        ("t.k = 3.0", "t.__dict__['k'] = 4.0", "t = threading.local(); t.k = 5.0"), mode=FOLLOW),
    Hazard("locks and threads", """
        import threading
        lock = threading.Lock()
        def f(x):
            with lock: return x * k
        k = 2.0
        """,
        ("k = 3.0", "lock = threading.RLock(); k = 4.0", "k = 5.0"), mode=FOLLOW),
    Hazard("the decimal context", """
        from decimal import Decimal, getcontext
        k = Decimal(1)
        def f(x): return x * float(k / 3)
        """,
        ("getcontext().prec = 2", "getcontext().rounding = 'ROUND_UP'", "k = Decimal(2)", "getcontext().prec = 5")),
    Hazard("fractions and complex numbers", """
        from fractions import Fraction
        k, c = Fraction(1, 2), 1 + 2j
        def f(x): return x * (k.numerator / k.denominator) + abs(c)
        """,
        ("k = Fraction(2, 3)", "c = 3 + 4j", "k = Fraction(3, 4); c = -c * 2"),
        ("k = Fraction(6, 8)",), settle=3),
    Hazard("the default dtype", """
        def f(x): return tg.ones(2) + tg.tensor([1.0, 2.0])
        """,
        ("tg.set_default_dtype(tg.float64)", "tg.set_default_dtype(tg.float32)", "tg.set_default_dtype(tg.float16)")),
    Hazard("NumPy's error state", """
        k = np.float32(2.0)
        def f(x):
            with np.errstate(divide='ignore'): return x * float(np.float32(1.0) / k)
        """,
        ("k = np.float32(4.0)", "k = np.float32(0.0)", "np.seterr(all='raise'); k = np.float32(8.0)")),
    Hazard("sys: argv, path, the recursion limit", """
        import sys
        sys.argv = ['a']
        def f(x): return x * len(sys.argv) + (1 if sys.getrecursionlimit() > 2000 else 2)
        """,
        ("sys.argv.append('b')", "sys.setrecursionlimit(3000)", "sys.argv = []", "sys.setrecursionlimit(1500)")),
    Hazard("is the garbage collector on?", """
        import gc
        def f(x): return x * 2 if gc.isenabled() else x * 3
        """,
        ("gc.disable()", "gc.enable()", "gc = type('fake', (), {'isenabled': staticmethod(lambda: 0)})"),
        mode=FOLLOW),
    Hazard("names of the module", """
        def f(x): return x * len(__name__)
        """,
        ("__name__ = 'abc'", "__name__ = 'z' * 50", "del __name__; import builtins; builtins.__name__ = 'ab'")),
    Hazard("regular expressions", """
        import re
        p, s = re.compile('a+'), 'aab'
        def f(x): return x * len(p.match(s).group())
        """,
        ("s = 'aaab'", "p = re.compile('a')", "p = re.compile('A*B', re.I); s = 'aaaaaB'"),
        ("s = 'aaaa' + 'aB'",)),
    Hazard("how Tensors are printed", """
        def f(x): return x * 2, repr(x), f'{x.sum():.2f}'
        """,
        ("x.mul_(2)", "args = (tg.ones(3),)", "args = (tg.ones(2, requires_grad=True),)"), mode=FOLLOW),
)
