"""Variables: globals, closures, defaults, builtins, code, scopes."""
from __future__ import annotations

from stale import FOLLOW, RAISE, Change, Hazard

NAMES = (
    Hazard("a global number", """
        k = 2.0
        def f(x): return x * k
        """,
        ("k = 3.0", "k = 4", "k = True", "del k; k = -0.0", "k = tg.tensor(4.0)"),
        ("other = k", "k = tg.tensor(5.0)")),
    Hazard("a global that is deleted", """
        k = 2.0
        def f(x): return x * k
        """,
        ("k = 3.0", Change("del k", RAISE), "k = 4.0", "import builtins; builtins.later = 1; del k; k = later + 1.0")),
    Hazard("a global deleted uncovers a builtin", """
        abs = tg.exp
        def f(x): return abs(-x)
        """,
        ("del abs", "abs = tg.exp", "import builtins; builtins.abs = tg.relu; del abs", "abs = tg.tanh")),
    Hazard("a global edited in place", """
        ks = [2.0, 3.0]
        def f(x): return x * ks[0] + ks[-1]
        """,
        ("ks[0] = 5.0", "ks.append(7.0)", "ks.insert(0, 1.0)", "del ks[0]", "ks *= 2; ks[-1] = 0.5", "ks = [5, 0.25]"),
        ("ks = [*ks]",)),
    Hazard("nan and the sign of zero", """
        k = float('nan')
        def f(x): return x / k, x + k
        """,
        ("k = 0.0", "k = -0.0", "k = float('inf')", "k = float('nan')"),
        ("k = float('nan')",)),
    Hazard("equal constants of three types", """
        k = 1
        def f(x): return x.sum() * k, k, type(k).__name__
        """,
        ("k = True", "k = 1.0", "k = 1", "k = np.float32(1)"),
        ("k = np.float32('1')",)),
    Hazard("a closure", """
        def make():
            k = 2.0
            def f(x): return x * k
            def set(v):
                nonlocal k
                k = v
            return f, set
        f, set = make()
        """,
        ("set(3.0)", "set(4)", "set(tg.tensor(2.0))"),
        ("set(tg.tensor(9.0))",)),
    Hazard("the contents of a cell", """
        def make():
            k = 2.0
            return lambda x: x * k
        f = make()
        """,
        ("f.__closure__[0].cell_contents = 3.0", "f.__closure__[0].cell_contents = 4.0",
         Change("del f.__closure__[0].cell_contents", RAISE), "f.__closure__[0].cell_contents = 1.0")),
    Hazard("a nonlocal that counts", """
        def make():
            n = 0
            def f(x):
                nonlocal n
                n += 1
                return x * n
            def set(v):
                nonlocal n
                n = v
            return f, set
        f, set = make()
        """,
        ("set(10)", "set(0.5)", "set(-3)"), mode=FOLLOW),
    Hazard("a global that counts", """
        n = 0
        def f(x):
            global n
            n += 1
            return x * 2 + n
        """,
        ("n = 10", "n = 0.5", "n = -3"), mode=FOLLOW),
    Hazard("a nonlocal Tensor that is replaced", """
        def make():
            h = tg.zeros(2)
            def f(x):
                nonlocal h
                h = h * 0.5 + x
                return h
            def set(v):
                nonlocal h
                h = v
            return f, set
        f, set = make()
        """,
        ("set(tg.ones(2, requires_grad=True))", "set(tg.ones(2, dtype=tg.float64))",
         "args = (tg.ones(3),); set(tg.zeros(3))"),
        ("set(tg.tensor([5.0, 6.0, 7.0]))",), settle=2),
    Hazard("a global Tensor that is replaced", """
        h = tg.zeros(2)
        def f(x):
            global h
            h = h * 0.5 + x
            return h.sum()
        """,
        ("h = tg.ones(2, dtype=tg.float64)", "args = (tg.ones(3),); h = tg.ones(3)", "args = (x,); h = x * 2"),
        ("h = tg.ones(2)", "h = x.clone()")),
    Hazard("default arguments", """
        def f(x, k=2.0, *, m=1.0): return x * k + m
        """,
        ("f.__defaults__ = (3.0,)", "f.__kwdefaults__ = {'m': 5.0}", "f.__kwdefaults__['m'] = 6.0",
         "args = (x, 7.0)", "kwargs = {'m': 8.0}", "args = (x,); kwargs = {}",
         Change("f.__defaults__ = None", RAISE), "args = (x, 1.5)")),
    Hazard("a mutable default", """
        def f(x, seen=[2.0]): return x * seen[0] * len(seen)
        """,
        ("f.__defaults__[0].append(1)", "f.__defaults__[0][0] = 4.0", "f.__defaults__ = ([4.0],)")),
    Hazard("a mutable default that collects", """
        def f(x, seen=[]):
            seen.append(len(seen))
            return x * len(seen)
        """,
        ("f.__defaults__[0].clear()", "f.__defaults__ = ([3, 4, 5],)", "args = (x, [7])"), mode=FOLLOW),
    Hazard("a default that is a Tensor", """
        w = tg.ones(2)
        def f(x, w=w): return x * w
        """,
        ("f.__defaults__ = (tg.ones(1) * 4,)", "f.__defaults__ = (2.0,)", "f.__defaults__ = (w * 3,)"),
        ("f.__defaults__ = (w * 4,)", "w.mul_(5)")),
    Hazard("code replaced", """
        def f(x): return x + 1
        def g(x): return x * 5
        def h(x, k=3): return x * k
        """,
        ("f.__code__ = g.__code__", "f.__code__ = h.__code__; f.__defaults__ = (4,)", "f.__defaults__ = (5,)")),
    Hazard("code of a callee replaced", """
        def g(x): return x * 5
        def f(x): return g(x) + 1
        """,
        ("g.__code__ = (lambda x: x * 7).__code__", "def g(x): return x * 8", "g = tg.exp", "g = lambda x, k=2: x * k",
         "g.__defaults__ = (3,)")),
    Hazard("a name that hides a builtin", """
        def f(x): return x * pow(2.0, 3.0)
        """,
        ("pow = max", "pow = lambda a, b: a * 10", "del pow", "import builtins; builtins.pow = lambda a, b: a - b")),
    Hazard("a builtin patched and restored", """
        import builtins
        real = builtins.abs
        def f(x): return x * abs(-2.0)
        """,
        ("builtins.abs = lambda v: 3.0", "builtins.abs = lambda v: 4.0", "builtins.abs = real")),
    Hazard("scopes of comprehensions", """
        k = 2.0
        ks = [1.0, 2.0]
        def f(x): return sum([x * k * v for v in ks if v < top()], x)
        def top(): return 5.0
        """,
        ("k = 3.0", "ks.append(4.0)", "ks.append(0.5); ks.reverse()", "top = lambda: 1.5", "ks = (1.0, 1.25)")),
    Hazard("walrus", """
        k = 2.0
        limit = 3.0
        def f(x): return x * n if (n := k * 2) > limit else x - n
        """,
        ("k = 1.0", "limit = 1.0", "k = 5.0")),
    Hazard("walrus out of a comprehension", """
        ks = [1.0, 2.0, 3.0]
        def f(x):
            found = [v for v in ks if (last := v) > 1]
            return x * last, len(found)
        """,
        ("ks.append(0.5)", "ks.reverse()", "ks.clear(); ks.append(8.0)")),
    Hazard("names read by exec-made code", """
        k = 2.0
        space = {}
        exec('def g(x): return x * m', space)
        space['m'] = 3.0
        g = space['g']
        def f(x): return g(x) * k
        """,
        ("space['m'] = 4.0", "k = 5.0", "g.__globals__['m'] = 6.0", Change("del space['m']", RAISE),
         "space['m'] = 1.0")),
    Hazard("annotations and names of functions", """
        def g(x: int): 'doc'
        def f(x): return x * len(g.__name__), g.__doc__
        """,
        ("g.__name__ = 'longer'", "g.__doc__ = 'other'", "def g(x): 'third'"),
        ("g.__annotations__['x'] = float", "g.tag = 1")),
    Hazard("a class body that closes over a variable", """
        def make(k):
            class C:
                m = k
                def g(self, x): return x * k * self.m
            def set(v):
                nonlocal k
                k = v
            return C(), set, C
        c, set, C = make(2.0)
        def f(x): return c.g(x)
        """,
        ("set(3.0)", "C.m = 5.0", "c.m = 7.0", "del c.m", "c, set, C = make(1.5)")),
    Hazard("del and rebinding in the function", """
        ks = {'a': 2.0}
        def f(x):
            k = ks['a']
            y = x * k
            del k
            return y
        """,
        ("ks['a'] = 3.0", "ks = {'a': 4.0}", Change("del ks['a']", RAISE), "ks['a'] = 5.0"),
        ("ks['b'] = 1.0; del ks['b']",)),
    Hazard("star arguments", """
        extra = (2.0, 3.0)
        more = {'m': 1.0}
        def g(x, a, b, m=0.0): return x * a + b - m
        def f(x): return g(x, *extra, **more)
        """,
        ("extra = (5.0, 6.0)", "more['m'] = 2.0", "more.clear()", "extra = [1, 2]", "g.__defaults__ = (7.0,)")),
)
