"""Programs that must not be replayed, each for its reason; and pure neighbors, so that refusing all cannot pass."""
from __future__ import annotations

from hazards import Hazard

from tracegrad.aborts import Abort

REFUSED = (
    # ---- effects -----------------------------------------------------------------------------------------------------
    Hazard("a counter in a global", """
        n = 0
        def f(x):
            global n
            n += 1
            return x
        """,
        refused=Abort.EFFECT),
    Hazard("a counter in a cell", """
        def make():
            n = 0
            def f(x):
                nonlocal n
                n += 1
                return x
            return f
        f = make()
        """,
        refused=Abort.EFFECT),
    Hazard("a counter in an attribute", """
        class C: n = 0
        c = C()
        def f(x):
            c.n += 1
            return x
        """,
        refused=Abort.EFFECT),
    Hazard("a counter in a class", """
        class C: n = 0
        def f(x):
            C.n += 1
            return x
        """,
        refused=Abort.EFFECT),
    Hazard("a counter in a slot", """
        class C: __slots__ = ('n',)
        c = C(); c.n = 0
        def f(x):
            c.n += 1
            return x
        """,
        refused=Abort.EFFECT),
    Hazard("a counter in a function", """
        def f(x):
            f.n += 1
            return x
        f.n = 0
        """,
        refused=Abort.EFFECT),
    Hazard("a counter by setattr", """
        class C: pass
        c = C()
        def f(x):
            setattr(c, 'a' + 'b', x)
            return x
        """,
        refused=Abort.EFFECT),
    Hazard("a counter by vars", """
        class C: pass
        c = C()
        def f(x):
            vars(c).update(n=x)
            return x
        """,
        refused=Abort.EFFECT),
    Hazard("an appended list", """
        xs = []
        def f(x):
            xs.append(x)
            return x
        """,
        refused=Abort.EFFECT),
    Hazard("a list appended through an alias", """
        xs = []
        add = xs.append
        def f(x):
            add(x)
            return x
        """,
        refused=Abort.EFFECT),
    Hazard("a list argument that is changed", """
        args = ([1, 2],)
        def f(xs):
            xs.reverse()
            return 0
        """,
        refused=Abort.EFFECT),
    Hazard("a dict that caches", """
        cache = {}
        def f(x):
            if x not in cache: cache[x] = x * 2
            return cache[x]
        """,
        refused=Abort.EFFECT),
    Hazard("the order of a dict", """
        d = {'a': 1, 'b': 2}
        def f(x):
            d['a'] = d.pop('a')
            return x
        """,
        refused=Abort.EFFECT),
    Hazard("a set that grows", """
        s = set()
        def f(x):
            s.add(x)
            return x
        """,
        refused=Abort.EFFECT),
    Hazard("a deque that turns", """
        from collections import deque
        d = deque([1, 2])
        def f(x):
            d.rotate()
            return x
        """,
        refused=Abort.EFFECT),
    Hazard("a default dict that fills", """
        from collections import defaultdict
        d = defaultdict(int)
        def f(x):
            return d['a']
        """,
        refused=Abort.EFFECT),
    Hazard("an array written", """
        a = np.zeros(3)
        def f(x):
            a[0] += x
            return x
        """,
        refused=Abort.EFFECT),
    Hazard("a mutable default", """
        def f(x, seen=[]):
            seen.append(x)
            return x
        """,
        refused=Abort.EFFECT),
    Hazard("a deleted attribute", """
        class C: pass
        c = C(); c.a = 1
        def f(x):
            if hasattr(c, 'a'): del c.a
            return x
        """,
        refused=Abort.EFFECT),
    Hazard("a patched method", """
        class C:
            def g(s): return 1
        def h(s): return 2
        def f(x):
            C.g = h
            return x
        """,
        refused=Abort.EFFECT),
    Hazard("a cached property", """
        from functools import cached_property
        class C:
            @cached_property
            def k(self): return 2.0
        c = C()
        def f(x): return x * c.k
        """,
        refused=Abort.EFFECT),
    Hazard("a global by globals()", """
        n = 0
        def f(x):
            globals()['n'] = x
            return x
        """,
        refused=Abort.UNKNOWN_CALL),
    Hazard("attributes set by the standard library", """
        import functools
        def a(): pass
        def b(): pass
        a.tag = 1
        def f(x):
            functools.update_wrapper(b, a)
            return x
        """,
        refused=Abort.EFFECT),
    Hazard("an attribute set through its namespace", """
        class C: pass
        c = C(); c.h = tg.zeros(2)
        update = c.__dict__.update
        def g(): return c.h
        def f(x):
            update(h=tg.ones(2))
            return x if x > 0 else g()
        """,
        refused=Abort.EFFECT),
    Hazard("an equal number of another type", """
        class C: pass
        c = C(); c.n = 1
        def f(x):
            c.n = x == 2.0
            return x
        """,
        refused=Abort.EFFECT),
    Hazard("another zero", """
        class C: pass
        c = C(); c.z = 0.0
        def f(x):
            c.z = -0.0 * x
            return x
        """,
        refused=Abort.EFFECT),
    Hazard("a computed name set in a module", """
        import types
        m = types.ModuleType('m')
        def f(x):
            setattr(m, ''.join(['k', '1']), x)
            return x
        """,
        refused=Abort.EFFECT),
    # ---- calls that are not known to be pure -------------------------------------------------------------------------
    Hazard("print", """
        def f(x):
            print('hello')
            return x
        """,
        refused=Abort.UNKNOWN_CALL),
    Hazard("print as a value", """
        log = print
        def f(x):
            list(map(log, ['a']))
            return x
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("a clock", """
        import time
        def f(x): return x + 0 * time.time()
        """,
        refused=Abort.UNKNOWN_CALL),
    Hazard("a clock as a value", """
        import time
        def f(x): return [t() for t in [time.time]]
        """,
        refused=Abort.UNKNOWN_CALL),
    Hazard("a date", """
        from datetime import datetime
        def f(x): return datetime.now().year
        """,
        refused=Abort.UNKNOWN_CALL),
    Hazard("the random module", """
        import random
        def f(x): return x + random.random()
        """,
        refused=Abort.UNKNOWN_CALL),
    # Other modules that NumPy's random numbers are wrapped by, once imported, hide the state first.
    Hazard("NumPy's global generator", "def f(x): return x + np.random.rand()",
           refused=(Abort.UNKNOWN_CALL, Abort.HIDDEN_STATE)),
    Hazard("a NumPy generator", """
        rng = np.random.default_rng(0)
        def f(x): return x + rng.normal()
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("a file", """
        def f(x):
            with open('/dev/null') as file: return file.read()
        """,
        refused=Abort.UNKNOWN_CALL),
    Hazard("an environment variable", """
        import os
        def f(x): return os.getcwd()
        """,
        refused=Abort.UNKNOWN_CALL),
    Hazard("eval", "def f(x): return eval('x + 1')", refused=Abort.UNKNOWN_CALL),
    Hazard("exec", """
        def f(x):
            exec('y = 1')
            return x
        """,
        refused=Abort.UNKNOWN_CALL),
    Hazard("globals", """
        k = 1
        def f(x): return globals()['k']
        """,
        refused=Abort.UNKNOWN_CALL),
    Hazard("a frame", """
        import sys
        def f(x): return sys._getframe().f_lineno
        """,
        refused=Abort.UNKNOWN_CALL),
    Hazard("the hash seed of an address", """
        import gc
        def f(x): return len(gc.get_objects())
        """,
        refused=Abort.UNKNOWN_CALL),
    Hazard("warnings", """
        import warnings
        def f(x):
            warnings.warn('w')
            return x
        """,
        refused=Abort.UNKNOWN_CALL),
    Hazard("np.save", """
        def f(x):
            np.save('/dev/null', np.zeros(1))
            return x
        """,
        refused=Abort.UNKNOWN_CALL),
    Hazard("np.seterr", """
        def f(x):
            np.seterr(all='ignore') if np.geterr()['divide'] == 'warn' else np.seterr(all='warn')
            return x
        """,
        refused=Abort.EFFECT),
    Hazard("subclasses", """
        class A: pass
        def f(x): return len(A.__subclasses__())
        """,
        refused=Abort.UNKNOWN_CALL),
    # ---- state that guards cannot watch ------------------------------------------------------------------------------
    Hazard("an iterator from outside", """
        it = iter([1, 2, 3])
        def f(x): return next(it)
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("a generator from outside", """
        def g():
            yield 1
            yield 2
        it = g()
        def f(x): return next(it)
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("an itertools counter", """
        import itertools
        ids = itertools.count()
        def f(x): return next(ids)
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("a lock", """
        import threading
        lock = threading.Lock()
        def f(x):
            with lock: return x
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("a weak reference", """
        import weakref
        class C: k = 1
        c = C()
        r = weakref.ref(c)
        def f(x): return r().k
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("an lru_cache", """
        from functools import lru_cache
        @lru_cache
        def g(x): return x + 1
        def f(x): return g(x)
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("a thread's variable", """
        import threading
        t = threading.local(); t.k = 1
        def f(x): return t.k
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("a context variable", """
        from contextvars import ContextVar
        v = ContextVar('v', default=1)
        def f(x): return v.get()
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("an open file", """
        import io
        b = io.StringIO('ab')
        def f(x): return b.read(1)
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("a compiled pattern's type", """
        import array
        a = array.array('d', [1.0])
        def f(x): return a[0]
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("a large array", """
        a = np.zeros(1 << 18)
        def f(x): return float(a[0])
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("an array of objects", """
        a = np.array([[], 1], dtype=object)
        def f(x): return len(a[0])
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("a memoryview", """
        m = memoryview(bytearray(b'ab'))
        def f(x): return m[0]
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("cells by name", """
        def g():
            k = 1
            return lambda: k
        h = g()
        def f(x): return h.__closure__[0].cell_contents
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("globals of a function", """
        k = 1
        def g(): return k
        def f(x): return g.__globals__['k']
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("print as a value beside a call of it", """
        logs = [print]
        def f(x):
            if x < 0: print(x)
            list(map(logs[0], [x]))
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("a ufunc made of a clock", """
        import time
        u = np.frompyfunc(lambda v: v, 1, 1)
        u = np.frompyfunc(time.sleep, 1, 1)
        def f(x): return u(0.0)
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("defaults of a function", """
        def g(k=1): pass
        def f(x): return g.__defaults__[0]
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("annotations of a function", """
        def g(k: int): pass
        def f(x): return len(g.__annotations__)
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("how NumPy prints", """
        a = np.ones(2)
        def f(x): return str(a)
        """,
        refused=Abort.UNKNOWN_CALL),
    Hazard("the local time zone", """
        from datetime import datetime
        d = datetime(2000, 1, 1)
        def f(x): return d.timestamp()
        """,
        refused=Abort.UNKNOWN_CALL),
    Hazard("single dispatch", """
        from functools import singledispatch
        @singledispatch
        def g(x): return x
        def f(x): return g(x)
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("a C class that is not known", """
        import array
        def f(x): return array.array('d', [x])[0]
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("a method of a C class that is not known", """
        import io
        read = io.StringIO.read
        def f(x): return callable(read)
        """,
        refused=Abort.HIDDEN_STATE),
    Hazard("a computed name of a large module", """
        import os
        def f(x): return getattr(os, ''.join(['cur', 'dir']))
        """,
        refused=Abort.HIDDEN_STATE),
    # ---- code that was not found -------------------------------------------------------------------------------------
    Hazard("an exception", "def f(x): raise ValueError", refused=Abort.RAISED),
    Hazard("a function from exec", """
        def f(x):
            d = {}
            exec('def g(): return 1', d)
            return d['g']()
        """,
        refused=Abort.UNSEEN_CODE),
    Hazard("the standard library at first", """
        import statistics
        def f(x): return statistics.mean([x, 1.0])
        """,
        refused=Abort.UNSEEN_CODE),
)

REPLAYABLE = (
    Hazard("containers made in the run", """
        def f(x):
            xs = []
            xs.append(x)
            d = {'a': xs}
            d['b'] = 1
            return d
        """),
    Hazard("objects made in the run", """
        class C: pass
        def f(x):
            c = C()
            c.n = x
            c.n += 1
            return c.n
        """),
    Hazard("iterators made in the run", """
        import itertools
        def f(x): return [k for k, _ in zip(itertools.count(), range(3))]
        """),
    Hazard("arrays made in the run", """
        def f(x):
            a = np.zeros(3)
            a[0] = x
            return a.sum()
        """),
    Hazard("NumPy functions", """
        a = np.arange(4.0)
        def f(x): return np.linalg.norm(np.concatenate([a, np.sqrt(a)])) + np.mean(a)
        """),
    Hazard("a print that does not run", """
        verbose = False
        def f(x):
            if verbose: print(x)
            return x
        """),
    Hazard("a lock that is not used", """
        import threading
        class C:
            def __init__(s): s.lock, s.k = threading.Lock(), 2.0
        c = C()
        def f(x): return x * c.k
        """),
    Hazard("an attribute set to what it is", """
        class C: n = 3
        c = C(); c.n = 3
        def f(x):
            c.n = 3
            return x
        """),
    Hazard("attributes set to equal values", """
        class C:
            def m(self): pass
        c = C(); c.n, c.s, c.v, c.z, c.b = 1000, 'ab', 2.5, float('nan'), c.m
        def f(x):
            c.n, c.s, c.v, c.z, c.b = int('1000'), ''.join(['a', 'b']), float('2.5'), float('nan'), c.m
            return x
        """),
    Hazard("a list restored", """
        xs = [1]
        def f(x):
            xs.append(2)
            return xs.pop()
        """),
    Hazard("math", """
        import math
        def f(x): return math.sin(x) + math.floor(x)
        """),
    Hazard("np.errstate", """
        def f(x):
            with np.errstate(all='ignore'): return np.float64(1) / x
        """),
    Hazard("a cached property that is filled", """
        from functools import cached_property
        class C:
            @cached_property
            def k(self): return 2.0
        c = C(); c.k
        def f(x): return x * c.k
        """),
    Hazard("the standard library", """
        import statistics
        def f(x): return statistics.fmean([x, 1.0])
        """,
        rehearsals=1),
    Hazard("dataclasses.replace", """
        import dataclasses
        @dataclasses.dataclass
        class C: a: float
        c = C(1.0)
        def f(x): return dataclasses.replace(c, a=x).a
        """),
)
