"""Changes of functions, classes and modules between calls."""
from __future__ import annotations

from hazards import Hazard

CODE = (
    # ---- functions ---------------------------------------------------------------------------------------------------
    Hazard("a called function", """
        def g(x): return x + 1
        def f(x): return g(x)
        """,
        ("def g(x): return x + 2", "g = lambda x: x", "g.__code__ = (lambda x: x * 9).__code__"),
        ("h = g",)),
    Hazard("a function two calls away", """
        k = 1
        def h(x): return x * k
        def g(x): return h(x)
        def f(x): return g(x)
        """,
        ("k = 2", "def h(x): return 0", "g = h; k = 3")),
    Hazard("a default of a called function", """
        def g(x, n=1): return x * n
        def f(x): return g(x)
        """,
        ("g.__defaults__ = (2,)",)),
    Hazard("a branch that did not run", """
        flag = True
        def g(x): return 0
        def f(x): return x if flag else g(x)
        """,
        ("flag = False",),
        ("def h(): pass",)),
    Hazard("a lambda in a dict", """
        ops = {'a': lambda x: x + 1}
        def f(x): return ops['a'](x)
        """,
        ("ops['a'] = lambda x: x + 2", "ops['a'].__code__ = (lambda x: x * 9).__code__")),
    Hazard("a closure made anew", """
        def make(k):
            def g(x): return x * k
            return g
        g = make(2.0)
        def f(x): return g(x)
        """,
        ("g = make(3.0)",),
        ("g = make(2.0)",)),
    Hazard("a nested function", """
        k = 2.0
        def f(x):
            def g(y): return y * k
            return g(x)
        """,
        ("k = 3.0",)),
    Hazard("a comprehension", """
        ks = [1, 2]
        m = 3
        def f(x): return [x * k * m for k in ks]
        """,
        ("ks[0] = 5", "m = 4")),
    Hazard("a generator expression", """
        ks = [1, 2]
        m = 3
        def f(x): return sum(x * k * m for k in ks)
        """,
        ("ks[0] = 5", "m = 4")),
    Hazard("a generator function", """
        m = 3
        def g(x):
            yield x
            yield m
        def f(x): return list(g(x))
        """,
        ("m = 4",)),
    Hazard("recursion", """
        k = 1
        def g(n): return k if n <= 0 else n * g(n - 1)
        def f(x): return g(x)
        """,
        ("k = 2",)),
    Hazard("a decorator", """
        import functools
        def scaled(k):
            def wrap(g):
                @functools.wraps(g)
                def inner(x): return k * g(x)
                return inner
            return wrap
        @scaled(2.0)
        def g(x): return x + 1
        def f(x): return g(x)
        """,
        ("g.__wrapped__.__code__ = (lambda x: x).__code__", "g.__closure__[1].cell_contents = 5.0")),
    Hazard("a partial", """
        from functools import partial
        def g(k, x): return k * x
        p = partial(g, 2.0)
        def f(x): return p(x)
        """,
        ("p = partial(g, 3.0)", "def g(k, x): return 0\np = partial(g, 2.0)"),
        ("p = partial(g, 2.0)",)),
    Hazard("keywords of a partial", """
        from functools import partial
        def g(x, k): return k * x
        p = partial(g, k=2.0)
        def f(x): return p(x)
        """,
        ("p.keywords['k'] = 3.0",)),
    Hazard("reduce", """
        from functools import reduce
        xs = [1, 2, 3]
        def add(a, b): return a + b
        def f(x): return reduce(add, xs)
        """,
        ("xs.append(4)", "add.__code__ = (lambda a, b: a * b * 2).__code__")),
    Hazard("sorted with a key", """
        xs = [3, 1, 2]
        def key(v): return v
        def f(x): return sorted(xs, key=key)
        """,
        ("xs[0] = 0", "def key(v): return -v")),
    Hazard("map", """
        xs = [1, 2]
        def g(v): return v * k
        k = 2
        def f(x): return list(map(g, xs))
        """,
        ("k = 3", "xs.append(1)")),
    Hazard("an operator getter", """
        from operator import attrgetter
        class C: pass
        c = C(); c.k = 2.0
        get = attrgetter('k')
        def f(x): return get(c)
        """,
        ("c.k = 3.0", "get = attrgetter('__class__')")),
    Hazard("a bound method", """
        class C:
            k = 2.0
            def g(self, x): return x * self.k
        c = C()
        m = c.g
        def f(x): return m(x)
        """,
        ("c.k = 3.0", "C.k = 4.0", "C.g.__code__ = (lambda s, x: 0).__code__", "d = C(); d.k = 9.0; m = d.g")),
    Hazard("an appended bound method", """
        xs = []
        add = 'abc'.upper
        def f(x): return add()
        """,
        ("add = 'abd'.upper", "add = 'abc'.title")),
    Hazard("str.format", """
        class C: pass
        c = C(); c.k = 1
        def f(x): return '{0.k}'.format(c)
        """,
        ("c.k = 2",)),
    Hazard("a context manager", """
        class M:
            k = 1.0
            def __enter__(self): return self.k
            def __exit__(self, *e): return False
        m = M()
        def f(x):
            with m as k: return x * k
        """,
        ("M.k = 2.0", "m.k = 3.0", "M.__enter__ = lambda s: 9")),
    Hazard("a context manager from a generator", """
        from contextlib import contextmanager
        k = 1.0
        @contextmanager
        def m():
            yield k
        def f(x):
            with m() as v: return x * v
        """,
        ("k = 2.0",)),
    Hazard("an exception that is caught", """
        k = 0
        def g(x):
            if k == 0: raise ValueError(k)
            return x
        def f(x):
            try: return g(x)
            except ValueError as e: return e.args
        """,
        ("k = 1",)),
    Hazard("a name that appears", """
        def f(x):
            try: return later
            except NameError: return x
        """,
        ("later = 1", "import builtins\nbuiltins.later = 2")),
    Hazard("a called function that is also looked at", """
        def g(x): return x
        gs = [g]
        def f(x): return g(x) + hasattr(gs[0], 'flag')
        """,
        ("g.flag = 1",)),
    Hazard("a pattern", """
        import re
        p = re.compile('a+')
        def f(x): return p.match('aab').end()
        """,
        ("p = re.compile('a')",)),
    Hazard("an environment variable", """
        import os
        os.environ['HAZARD'] = '1'
        def f(x): return os.environ.get('HAZARD')
        """,
        ("os.environ['HAZARD'] = '2'",),
        rehearsals=1),
    Hazard("an object that deletes itself", """
        class C:
            def __del__(s): pass
        def f(x):
            C()
            return k
        k = 1
        """,
        ("k = 2",)),
    Hazard("a partial in a library closure", """
        from contextlib import contextmanager
        k = 1.0
        def g(v):
            yield v * k
        from functools import partial
        m = contextmanager(partial(g, 2.0))
        def f(x):
            with m() as v: return x * v
        """,
        ("k = 2.0", "m.__wrapped__.keywords['v'] = 3.0\nm = contextmanager(partial(g, 5.0))")),
    Hazard("a call that fails to bind", """
        def g(x, k): return k
        def f(x):
            try: return g(x)
            except TypeError: return -1
        """,
        ("g.__defaults__ = (1,)", "g.__code__ = (lambda x: 2).__code__")),
    Hazard("a call that fails to bind its keywords", """
        from contextlib import suppress
        def g(x, *, k, m=1): return k
        def f(x):
            with suppress(TypeError): return g(x)
        """,
        ("g.__kwdefaults__ = {'k': 1, 'm': 1}", "g.__kwdefaults__['k'] = 1")),
    Hazard("what wraps copies", """
        from functools import wraps
        def g(x):
            'old'
        def f(x): return wraps(g)(lambda: 0).__doc__
        """,
        ("g.__doc__ = 'new'",)),
    # ---- classes -----------------------------------------------------------------------------------------------------
    Hazard("a method", """
        class C:
            def g(self, x): return x + 1
        c = C()
        def f(x): return c.g(x)
        """,
        (
            "C.g = lambda s, x: x + 2",
            "c.g = lambda x: x",
            "C.g.__code__ = (lambda s, x: 0).__code__",
            "class D(C):\n    def g(self, x): return 5\nc.__class__ = D",
            "c = type('D', (), {'g': lambda s, x: 7})()",
        ),
        ("c = C()",)),
    Hazard("an inherited method", """
        class A:
            def g(self, x): return x + 1
        class B(A): pass
        class C(B): pass
        c = C()
        def f(x): return c.g(x)
        """,
        (
            "A.g = lambda s, x: x + 2",
            "B.g = lambda s, x: x + 3",
            "C.g = lambda s, x: 4",
            "class Z(A):\n    g = lambda s, x: 0\nC.__bases__ = (Z,)",
        )),
    Hazard("super", """
        class A:
            def g(self, x): return x + 1
        class B(A):
            def g(self, x): return 2 * super().g(x)
        b = B()
        def f(x): return b.g(x)
        """,
        ("A.g = lambda s, x: 0",)),
    Hazard("a class method and a static method", """
        class C:
            k = 2.0
            @classmethod
            def g(cls, x): return cls.k * x
            @staticmethod
            def h(x): return x + 1
        def f(x): return C.g(x) + C.h(x)
        """,
        ("C.k = 3.0", "C.h = staticmethod(lambda x: 0)", "C.g = 1 and (lambda x: 5)")),
    Hazard("__call__", """
        class C:
            def __call__(self, x): return x + 1
        c = C()
        def f(x): return c(x)
        """,
        ("C.__call__ = lambda s, x: x + 2",)),
    Hazard("an operator", """
        class V:
            def __init__(self, v): self.v = v
            def __add__(self, o): return self.v + o
        v = V(2.0)
        def f(x): return v + x
        """,
        ("v.v = 3.0", "V.__add__ = lambda s, o: 0")),
    Hazard("a reflected operator that appears", """
        class V:
            def __add__(self, o): return 1
        class W(V): pass
        v, w = V(), W()
        def f(x): return v + w
        """,
        ("W.__radd__ = lambda s, o: 2",)),
    Hazard("__len__ and __bool__", """
        class C:
            def __len__(self): return 1
        c = C()
        def f(x): return x if c else -x
        """,
        ("C.__len__ = lambda s: 0", "C.__bool__ = lambda s: False")),
    Hazard("__iter__", """
        class C:
            def __init__(self): self.xs = [1, 2]
            def __iter__(self): return iter(self.xs)
        c = C()
        def f(x): return sum(c)
        """,
        ("c.xs.append(5)", "C.__iter__ = lambda s: iter([])")),
    Hazard("__eq__ and __hash__", """
        class K:
            def __init__(self, v): self.v = v
            def __eq__(self, o): return self.v == o.v
            def __hash__(self): return hash(self.v)
        d = {K(1): 'a'}
        def f(x): return d.get(K(1))
        """,
        ("next(iter(d)).v = 2", "K.__eq__ = lambda s, o: False")),
    Hazard("a class made in the run", """
        class Base:
            k = 2.0
        def f(x):
            class C(Base): pass
            return C().k * x
        """,
        ("Base.k = 3.0",)),
    Hazard("an object made in the run", """
        class C:
            def __init__(self, v): self.v = v * k
        k = 2.0
        def f(x): return C(x).v
        """,
        (
            "k = 3.0",
            "C.__init__ = lambda s, v: setattr(s, 'v', 0)",
            "C.__new__ = lambda c, v: c.other\nC.other = type('O', (), {'v': 1})()",
        )),
    Hazard("isinstance", """
        class A: pass
        class B(A): pass
        b = B()
        def f(x): return isinstance(b, A)
        """,
        ("B.__bases__ = (type('Z', (), {}),)", "b = 3"),
        ("b = B()",)),
    Hazard("an abstract class", """
        from abc import ABC
        class A(ABC): pass
        class B: pass
        b = B()
        def f(x): return isinstance(b, A)
        """,
        ("A.register(B)",)),
    Hazard("a metaclass", """
        class Meta(type):
            def __call__(cls, x): return x + 1
        class C(metaclass=Meta): pass
        def f(x): return C(x)
        """,
        ("Meta.__call__ = lambda c, x: 0",)),
    Hazard("another metaclass", """
        class Meta(type):
            def __call__(cls, x): return x + 1
        class Other(type):
            def __call__(cls, x): return x + 2
        class C(metaclass=Meta): pass
        def f(x): return C(x)
        """,
        ("C.__class__ = Other",)),
    Hazard("a computed name of a class", """
        class C: k1 = 1
        c = C()
        def f(x): return getattr(c, 'k' + str(int(x) - 1))
        """,
        ("C.k1 = 2",)),
    Hazard("a method of a C type", """
        up = str.upper
        def f(x): return list(map(up, ['a']))
        """,
        ("up = str.title; up = str.lower",)),
    Hazard("the decimal context", """
        from decimal import Decimal, getcontext
        k = Decimal(1)
        def f(x): return k / 3
        """,
        ("getcontext().prec = 5",)),
    Hazard("match", """
        class P:
            __match_args__ = ('a', 'b')
            def __init__(self, a, b): self.a, self.b = a, b
        p = P(1, 2)
        def f(x):
            match p:
                case P(1, b): return b
                case _: return 0
        """,
        ("p.b = 3", "p.a = 2", "P.__match_args__ = ('b', 'a')")),
    Hazard("the name of a class", """
        class C: pass
        c = C()
        def f(x): return type(c).__name__
        """,
        ("C.__name__ = 'D'",)),
    Hazard("__class__ of an object", """
        class A: k = 1
        class B: k = 2
        a = A()
        def f(x): return a.k
        """,
        ("a.__class__ = B",)),
    Hazard("__set_name__ and __init_subclass__", """
        log = 2.0
        class Base:
            def __init_subclass__(cls): cls.k = log
        def f(x):
            class C(Base): pass
            return C.k
        """,
        ("log = 3.0", "Base.__init_subclass__ = classmethod(lambda c: setattr(c, 'k', 0))")),
    # ---- modules -----------------------------------------------------------------------------------------------------
    Hazard("an attribute of a module", """
        import sys, types
        m = types.ModuleType('m'); m.k = 2.0
        def f(x): return x * m.k
        """,
        ("m.k = 3.0", "m = types.ModuleType('m'); m.k = 7.0"),
        ("m.other = 1",)),
    Hazard("an import in the function", """
        import sys, types
        sys.modules['hazard_m'] = types.ModuleType('hazard_m'); sys.modules['hazard_m'].k = 2.0
        def f(x):
            import hazard_m
            return x * hazard_m.k
        """,
        (
            "sys.modules['hazard_m'].k = 3.0",
            "m = types.ModuleType('hazard_m'); m.k = 5.0; sys.modules['hazard_m'] = m",
        )),
    Hazard("a from-import in the function", """
        import sys, types
        sys.modules['hazard_m'] = types.ModuleType('hazard_m'); sys.modules['hazard_m'].k = 2.0
        def f(x):
            from hazard_m import k
            return x * k
        """,
        ("sys.modules['hazard_m'].k = 3.0",)),
    Hazard("__getattr__ of a module", """
        import types
        m = types.ModuleType('m')
        m.__getattr__ = lambda n: 2.0
        def f(x): return m.k
        """,
        ("m.__getattr__ = lambda n: 3.0", "m.k = 1.0")),
    Hazard("an import through another function", """
        import builtins, sys, types
        sys.modules['hazard_m'] = types.ModuleType('hazard_m'); sys.modules['hazard_m'].k = 2.0
        other = types.ModuleType('other'); other.k = 3.0
        def f(x):
            import hazard_m
            return x * hazard_m.k
        """,
        ("builtins.__import__ = lambda *a, **k: other",)),
    Hazard("a module of a class of its own", """
        import types
        class M(types.ModuleType):
            @property
            def k(self): return 2.0
        m = M('m')
        def f(x): return m.k
        """,
        ("M.k = 3.0", "m.__class__ = type('N', (types.ModuleType,), {'k': 4.0})")),
    Hazard("a computed name of a module", """
        import types
        m = types.ModuleType('m'); m.k1 = 1; m.k2 = 2
        def f(x): return getattr(m, 'k' + str(int(x) - 1))
        """,
        ("m.k1 = 5",)),
    Hazard("a function of math", """
        import math
        class fake:
            sin = math.cos
        def f(x): return math.sin(x)
        """,
        ("math = fake",)),
    Hazard("a patched function of a module", """
        import types
        m = types.ModuleType('m')
        m.g = lambda x: x + 1
        def f(x): return m.g(x)
        """,
        ("m.g = lambda x: 0",)),
    Hazard("a function of the library", """
        relu = tg.relu
        def f(x): return relu
        """,
        ("relu = tg.exp",)),
)
