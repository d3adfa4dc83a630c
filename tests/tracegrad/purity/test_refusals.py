"""Programs that must not be replayed, each for its reason; and their pure neighbors, so that refusing all cannot pass."""
from __future__ import annotations

import pytest
from hazards import Hazard, record

from tracegrad.aborts import Abort

REFUSED = (
    # ---- effects ------------------------------------------------------------------------------------------------------
    Hazard("a counter in a global", "n = 0\ndef f(x):\n    global n\n    n += 1\n    return x", refused=Abort.EFFECT),
    Hazard("a counter in a cell", """
        def make():
            n = 0
            def f(x):
                nonlocal n
                n += 1
                return x
            return f
        f = make()
        """, refused=Abort.EFFECT),
    Hazard("a counter in an attribute", "class C: n = 0\nc = C()\ndef f(x):\n    c.n += 1\n    return x", refused=Abort.EFFECT),
    Hazard("a counter in a class", "class C: n = 0\ndef f(x):\n    C.n += 1\n    return x", refused=Abort.EFFECT),
    Hazard("a counter in a slot", "class C: __slots__ = ('n',)\nc = C(); c.n = 0\ndef f(x):\n    c.n += 1\n    return x", refused=Abort.EFFECT),
    Hazard("a counter in a function", "def f(x):\n    f.n += 1\n    return x\nf.n = 0", refused=Abort.EFFECT),
    Hazard("a counter by setattr", "class C: pass\nc = C()\ndef f(x):\n    setattr(c, 'a' + 'b', x)\n    return x", refused=Abort.EFFECT),
    Hazard("a counter by vars", "class C: pass\nc = C()\ndef f(x):\n    vars(c).update(n=x)\n    return x", refused=Abort.EFFECT),
    Hazard("an appended list", "xs = []\ndef f(x):\n    xs.append(x)\n    return x", refused=Abort.EFFECT),
    Hazard("a list appended through an alias", "xs = []\nadd = xs.append\ndef f(x):\n    add(x)\n    return x", refused=Abort.EFFECT),
    Hazard("a list argument that is changed", "args = ([1, 2],)\ndef f(xs):\n    xs.reverse()\n    return 0", refused=Abort.EFFECT),
    Hazard("a dict that caches", "cache = {}\ndef f(x):\n    if x not in cache: cache[x] = x * 2\n    return cache[x]", refused=Abort.EFFECT),
    Hazard("the order of a dict", "d = {'a': 1, 'b': 2}\ndef f(x):\n    d['a'] = d.pop('a')\n    return x", refused=Abort.EFFECT),
    Hazard("a set that grows", "s = set()\ndef f(x):\n    s.add(x)\n    return x", refused=Abort.EFFECT),
    Hazard("a deque that turns", "from collections import deque\nd = deque([1, 2])\ndef f(x):\n    d.rotate()\n    return x", refused=Abort.EFFECT),
    Hazard("a default dict that fills", "from collections import defaultdict\nd = defaultdict(int)\ndef f(x):\n    return d['a']", refused=Abort.EFFECT),
    Hazard("an array written", "a = np.zeros(3)\ndef f(x):\n    a[0] += x\n    return x", refused=Abort.EFFECT),
    Hazard("a mutable default", "def f(x, seen=[]):\n    seen.append(x)\n    return x", refused=Abort.EFFECT),
    Hazard("a deleted attribute", "class C: pass\nc = C(); c.a = 1\ndef f(x):\n    if hasattr(c, 'a'): del c.a\n    return x", refused=Abort.EFFECT),
    Hazard("a patched method", "class C:\n    def g(s): return 1\ndef h(s): return 2\ndef f(x):\n    C.g = h\n    return x", refused=Abort.EFFECT),
    Hazard("a cached property", """
        from functools import cached_property
        class C:
            @cached_property
            def k(self): return 2.0
        c = C()
        def f(x): return x * c.k
        """, refused=Abort.EFFECT),
    Hazard("the default dtype", "def f(x):\n    tg.set_default_dtype(tg.float64)\n    return x", refused=Abort.EFFECT)
    if hasattr(__import__("tracegrad"), "set_default_dtype") else
    Hazard("a global by globals()", "n = 0\ndef f(x):\n    globals()['n'] = x\n    return x", refused=Abort.UNKNOWN_CALL),
    # ---- calls that are not known to be pure ----------------------------------------------------------------------------
    Hazard("print", "def f(x):\n    print('hello')\n    return x", refused=Abort.UNKNOWN_CALL),
    Hazard("print as a value", "log = print\ndef f(x):\n    list(map(log, ['a']))\n    return x", refused=Abort.HIDDEN_STATE),
    Hazard("a clock", "import time\ndef f(x): return x + 0 * time.time()", refused=Abort.UNKNOWN_CALL),
    Hazard("a clock as a value", "import time\ndef f(x): return [t() for t in [time.time]]", refused=Abort.UNKNOWN_CALL),
    Hazard("a date", "from datetime import datetime\ndef f(x): return datetime.now().year", refused=Abort.UNKNOWN_CALL),
    Hazard("the random module", "import random\ndef f(x): return x + random.random()", refused=Abort.UNKNOWN_CALL),
    Hazard("NumPy's global generator", "def f(x): return x + np.random.rand()", refused=Abort.UNKNOWN_CALL),
    Hazard("a NumPy generator", "rng = np.random.default_rng(0)\ndef f(x): return x + rng.normal()", refused=Abort.HIDDEN_STATE),
    Hazard("a file", "def f(x):\n    with open('/dev/null') as file: return file.read()", refused=Abort.UNKNOWN_CALL),
    Hazard("an environment variable", "import os\ndef f(x): return os.getcwd()", refused=Abort.UNKNOWN_CALL),
    Hazard("eval", "def f(x): return eval('x + 1')", refused=Abort.UNKNOWN_CALL),
    Hazard("exec", "def f(x):\n    exec('y = 1')\n    return x", refused=Abort.UNKNOWN_CALL),
    Hazard("globals", "k = 1\ndef f(x): return globals()['k']", refused=Abort.UNKNOWN_CALL),
    Hazard("a frame", "import sys\ndef f(x): return sys._getframe().f_lineno", refused=Abort.UNKNOWN_CALL),
    Hazard("the hash seed of an address", "import gc\ndef f(x): return len(gc.get_objects())", refused=Abort.UNKNOWN_CALL),
    Hazard("warnings", "import warnings\ndef f(x):\n    warnings.warn('w')\n    return x", refused=Abort.UNKNOWN_CALL),
    Hazard("np.save", "def f(x):\n    np.save('/dev/null', np.zeros(1))\n    return x", refused=Abort.UNKNOWN_CALL),
    Hazard("np.seterr", "def f(x):\n    np.seterr(all='ignore') if np.geterr()['divide'] == 'warn' else np.seterr(all='warn')\n    return x",
           refused=Abort.EFFECT),
    Hazard("subclasses", "class A: pass\ndef f(x): return len(A.__subclasses__())", refused=Abort.UNKNOWN_CALL),
    # ---- state that guards cannot watch -----------------------------------------------------------------------------------
    Hazard("an iterator from outside", "it = iter([1, 2, 3])\ndef f(x): return next(it)", refused=Abort.HIDDEN_STATE),
    Hazard("a generator from outside", "def g():\n    yield 1\n    yield 2\nit = g()\ndef f(x): return next(it)", refused=Abort.HIDDEN_STATE),
    Hazard("an itertools counter", "import itertools\nids = itertools.count()\ndef f(x): return next(ids)", refused=Abort.HIDDEN_STATE),
    Hazard("a lock", "import threading\nlock = threading.Lock()\ndef f(x):\n    with lock: return x", refused=Abort.HIDDEN_STATE),
    Hazard("a weak reference", "import weakref\nclass C: k = 1\nc = C()\nr = weakref.ref(c)\ndef f(x): return r().k", refused=Abort.HIDDEN_STATE),
    Hazard("an lru_cache", "from functools import lru_cache\n@lru_cache\ndef g(x): return x + 1\ndef f(x): return g(x)", refused=Abort.HIDDEN_STATE),
    Hazard("a thread's variable", "import threading\nt = threading.local(); t.k = 1\ndef f(x): return t.k", refused=Abort.HIDDEN_STATE),
    Hazard("a context variable", "from contextvars import ContextVar\nv = ContextVar('v', default=1)\ndef f(x): return v.get()", refused=Abort.HIDDEN_STATE),
    Hazard("an open file", "import io\nb = io.StringIO('ab')\ndef f(x): return b.read(1)", refused=Abort.HIDDEN_STATE),
    Hazard("a compiled pattern's type", "import array\na = array.array('d', [1.0])\ndef f(x): return a[0]", refused=Abort.HIDDEN_STATE),
    Hazard("a large array", "a = np.zeros(1 << 18)\ndef f(x): return float(a[0])", refused=Abort.HIDDEN_STATE),
    Hazard("an array of objects", "a = np.array([[], 1], dtype=object)\ndef f(x): return len(a[0])", refused=Abort.HIDDEN_STATE),
    Hazard("a view of a mapping", "import types\nd = {'a': 1}\nm = types.MappingProxyType(d)\ndef f(x): return m['a']", refused=Abort.HIDDEN_STATE),
    Hazard("a dict's view", "d = {'a': 1}\nv = d.values()\ndef f(x): return sum(v)", refused=Abort.HIDDEN_STATE),
    Hazard("a memoryview", "m = memoryview(bytearray(b'ab'))\ndef f(x): return m[0]", refused=Abort.HIDDEN_STATE),
    Hazard("cells by name", "def g():\n    k = 1\n    return lambda: k\nh = g()\ndef f(x): return h.__closure__[0].cell_contents", refused=Abort.HIDDEN_STATE),
    Hazard("globals of a function", "k = 1\ndef g(): return k\ndef f(x): return g.__globals__['k']", refused=Abort.HIDDEN_STATE),
    Hazard("print as a value beside a call of it",
           "logs = [print]\ndef f(x):\n    if x < 0: print(x)\n    list(map(logs[0], [x]))", refused=Abort.HIDDEN_STATE),
    Hazard("a ufunc made of a clock", "import time\nu = np.frompyfunc(lambda v: v, 1, 1)\nu = np.frompyfunc(time.sleep, 1, 1)\ndef f(x): return u(0.0)",
           refused=Abort.HIDDEN_STATE),
    Hazard("defaults of a function", "def g(k=1): pass\ndef f(x): return g.__defaults__[0]", refused=Abort.HIDDEN_STATE),
    Hazard("annotations of a function", "def g(k: int): pass\ndef f(x): return len(g.__annotations__)", refused=Abort.HIDDEN_STATE),
    Hazard("how NumPy prints", "a = np.ones(2)\ndef f(x): return str(a)", refused=Abort.UNKNOWN_CALL),
    Hazard("the local time zone", "from datetime import datetime\nd = datetime(2000, 1, 1)\ndef f(x): return d.timestamp()", refused=Abort.UNKNOWN_CALL),
    Hazard("single dispatch", "from functools import singledispatch\n@singledispatch\ndef g(x): return x\ndef f(x): return g(x)", refused=Abort.HIDDEN_STATE),
    # ---- code that was not found ----------------------------------------------------------------------------------------
    Hazard("an exception", "def f(x): raise ValueError", refused=Abort.RAISED),
    Hazard("a function from exec", "def f(x):\n    d = {}\n    exec('def g(): return 1', d)\n    return d['g']()", refused=Abort.UNSEEN_CODE),
    Hazard("the standard library at first", "import statistics\ndef f(x): return statistics.mean([x, 1.0])", refused=Abort.UNSEEN_CODE),
)

REPLAYABLE = (
    Hazard("containers made in the run", "def f(x):\n    xs = []\n    xs.append(x)\n    d = {'a': xs}\n    d['b'] = 1\n    return d"),
    Hazard("objects made in the run", "class C: pass\ndef f(x):\n    c = C()\n    c.n = x\n    c.n += 1\n    return c.n"),
    Hazard("iterators made in the run", "import itertools\ndef f(x): return [k for k, _ in zip(itertools.count(), range(3))]"),
    Hazard("arrays made in the run", "def f(x):\n    a = np.zeros(3)\n    a[0] = x\n    return a.sum()"),
    Hazard("NumPy functions", "a = np.arange(4.0)\ndef f(x): return np.linalg.norm(np.concatenate([a, np.sqrt(a)])) + np.mean(a)"),
    Hazard("a print that does not run", "verbose = False\ndef f(x):\n    if verbose: print(x)\n    return x"),
    Hazard("a lock that is not used", "import threading\nclass C:\n    def __init__(s): s.lock, s.k = threading.Lock(), 2.0\nc = C()\ndef f(x): return x * c.k"),
    Hazard("an attribute set to what it is", "class C: n = 3\nc = C(); c.n = 3\ndef f(x):\n    c.n = 3\n    return x"),
    Hazard("a list restored", "xs = [1]\ndef f(x):\n    xs.append(2)\n    return xs.pop()"),
    Hazard("math", "import math\ndef f(x): return math.sin(x) + math.floor(x)"),
    Hazard("np.errstate", "def f(x):\n    with np.errstate(all='ignore'): return np.float64(1) / x"),
    Hazard("a cached property that is filled", """
        from functools import cached_property
        class C:
            @cached_property
            def k(self): return 2.0
        c = C(); c.k
        def f(x): return x * c.k
        """),
    Hazard("the standard library", "import statistics\ndef f(x): return statistics.fmean([x, 1.0])", rehearsals=1),
    Hazard("dataclasses.replace", """
        import dataclasses
        @dataclasses.dataclass
        class C: a: float
        c = C(1.0)
        def f(x): return dataclasses.replace(c, a=x).a
        """),
)


@pytest.mark.parametrize("hazard", REFUSED, ids=lambda h: h.name)
def test_is_refused_for_its_reason(hazard, capsys, recwarn):
    program = record(hazard.source, hazard.rehearsals)
    reasons = {refusal.reason for refusal in program.reads.refusals}
    assert hazard.refused in reasons, program.reads.refusals


@pytest.mark.parametrize("hazard", REPLAYABLE, ids=lambda h: h.name)
def test_is_replayable(hazard):
    program = record(hazard.source, hazard.rehearsals)
    assert program.reads.refusals == ()
    assert program.holds(), program.reads.guards.explain(program.args, program.kwargs)
