"""Changes of values, containers and attributes between calls."""
from __future__ import annotations

from hazards import Hazard

VALUES = (
    # ---- variables ---------------------------------------------------------------------------------------------------
    Hazard("nothing to change", "def f(x): return x + 1", harmless=("other = 1",)),
    Hazard("a global", """
        k = 2.0
        def f(x): return x * k
        """,
        ("k = 3.0", "k = -2.0", "del k; k = 4"),
        ("z = k",)),
    Hazard("a global that is nan", """
        k = float('nan')
        def f(x): return [x, k]
        """,
        ("k = 1.0",),
        ("k = float('nan')",)),
    Hazard("a zero", """
        import math
        k = 0.0
        def f(x): return math.atan2(k, -1.0)
        """,
        ("k = -0.0",),
        ("k = 0.0",)),
    Hazard("True and 1", """
        k = 1
        def f(x): return str(k)
        """,
        ("k = True", "k = 1.0"),
        ("k = int('1')",)),
    Hazard("a string", """
        mode = 'mean'
        def f(x): return x if mode == 'mean' else -x
        """,
        ("mode = 'sum'",),
        ("mode = ''.join(['me', 'an'])",)),
    Hazard("a shadowed builtin", "def f(x): return max(x, 1.0)", ("max = min",), ("min = max",)),
    Hazard("a patched builtin", """
        import builtins
        real = builtins.abs
        def f(x): return abs(-x)
        """,
        ("builtins.abs = lambda v: 0",),
        ()),
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
        ("set(3.0)",),
        ("set(2.0)",)),
    Hazard("a default", "def f(x, k=2.0): return x * k", ("f.__defaults__ = (3.0,)", "f.__defaults__ = (1.0, 4.0)")),
    Hazard("a keyword default", "def f(x, *, k=2.0): return x * k",
        ("f.__kwdefaults__ = {'k': 3.0}", "f.__kwdefaults__['k'] = 4.0")),
    Hazard("a mutable default", "def f(x, k=[2.0]): return x * k[0]", ("f.__defaults__[0][0] = 3.0",)),
    Hazard("new code", """
        def f(x): return x + 1
        def g(x): return x + 2
        """,
        ("f.__code__ = g.__code__",)),
    Hazard("a complex number", """
        k = 1j
        def f(x): return x * k
        """,
        ("k = 2j", "k = complex(-0.0, 1)"),
        ("k = complex(0, 1)",)),
    Hazard("a fraction", """
        from fractions import Fraction
        k = Fraction(1, 2)
        def f(x): return x * k.numerator
        """,
        ("k = Fraction(3, 2)",),
        ("k = Fraction(2, 4)",),
        rehearsals=1),
    Hazard("a slice", """
        s = slice(0, 2)
        def f(x): return [1, 2, 3][s]
        """,
        ("s = slice(0, 1)", "s = slice(0, 2, -1)"),
        ("s = slice(0, 2)",)),
    Hazard("a range", """
        r = range(3)
        def f(x): return list(r)
        """,
        ("r = range(4)",),
        ("r = range(0, 3)",)),
    # ---- arguments ---------------------------------------------------------------------------------------------------
    Hazard("an argument", "def f(x): return x + 1",
        ("args = (3.0,)", "args = (2,)", "args = (True,)"),
        ("args = (2.0,)",)),
    Hazard("more arguments", "def f(*xs): return sum(xs)", ("args = (2.0, 2.0)", "args = ()")),
    Hazard("a keyword argument", """
        def f(x, **k): return x, k
        kwargs = {'a': 1, 'b': 2}
        """,
        ("kwargs = {'a': 1, 'b': 3}", "kwargs = {'b': 2, 'a': 1}", "kwargs = {'a': 1}", "kwargs = {}"),
        ("kwargs = {'a': 1, 'b': 2}",)),
    Hazard("a list given as argument", """
        def f(xs): return sum(xs)
        args = ([1, 2],)
        """,
        ("args[0].append(3)", "args[0][0] = 5", "args = ((1.5, 2),)"),
        ("args = ([1, 2],)",)),
    # ---- containers --------------------------------------------------------------------------------------------------
    Hazard("a list", """
        xs = [1.0, 2.0]
        def f(x): return x * sum(xs)
        """,
        ("xs[1] = 3.0", "xs.append(4.0)", "xs.pop()", "xs = [2.0, 2.0]"),
        ("xs = [1.0, 2.0]",)),
    Hazard("the order of a list", """
        xs = [1, 2, 3]
        def f(x): return xs[0]
        """,
        ("xs.reverse()", "xs.sort(key=lambda v: -v)")),
    Hazard("a long list", """
        xs = list(range(100))
        def f(x): return sum(xs)
        """,
        ("xs[50] = 0", "xs.pop()", "xs[50] = 50.5"),
        ("xs = list(range(100))",)),
    Hazard("a long list of floats", """
        xs = [0.0] * 50
        import math
        def f(x): return [math.copysign(1, v) for v in xs]
        """,
        ("xs[9] = -0.0", "xs[9] = -1"),
        ("xs = [0.0] * 50",)),
    Hazard("a nested list", """
        xs = [[1], [2]]
        def f(x): return xs[1][0]
        """,
        ("xs[1][0] = 3", "xs[1] = [4]"),
        ("xs[1] = [2]",)),
    Hazard("a tuple", """
        xs = (1, 2)
        def f(x): return xs[0]
        """,
        ("xs = (3, 2)", "xs = [9, 2]"),
        ("xs = (1, 2)",)),
    Hazard("a view of a mapping", """
        import types
        d = {'a': 1, 'b': 2}
        m = types.MappingProxyType(d)
        def f(x): return m['a']
        """,
        ("d['a'] = 2", "d.clear(); d['a'] = 3", "m = types.MappingProxyType({'a': 4})"),
        ("d['a'] = 1",)),
    Hazard("a dict's view", """
        d = {'a': 1}
        v = d.values()
        def f(x): return sum(v)
        """,
        ("d['a'] = 2", "d['b'] = 3", "v = {'a': 5}.values()"),
        ("d['a'] = 1",)),
    Hazard("a dict", """
        d = {'a': 1, 'b': 2}
        def f(x): return [d, *d]
        """,
        ("d['a'] = 5", "d['c'] = 1", "del d['a']", "d['a'] = d.pop('a')"),
        ("d['a'] = 1", "d = {'a': 1, 'b': 2}")),
    Hazard("a dict with other keys", """
        d = {1: 'x', (1, 2): 'y'}
        def f(x): return [d, *d]
        """,
        ("d[1] = 'z'", "d[3] = 1", "d[1] = d.pop(1)", "d = {True: 'x', (1, 2): 'y'}"),
        ("d = {1: 'x', (1, 2): 'y'}",)),
    Hazard("a missing key", """
        d = {'a': 1}
        def f(x): return d.get('b', 7)
        """,
        ("d['b'] = 1",)),
    Hazard("a set", """
        s = {'a', 'b'}
        def f(x): return ('a' in s, 'c' in s)
        """,
        ("s.add('c')", "s.remove('a')"),
        ("s.add('a')",)),
    Hazard("a frozenset", """
        s = frozenset([1, 2])
        def f(x): return 3 in s
        """,
        ("s = frozenset([1, 3])",)),
    Hazard("a deque", """
        from collections import deque
        d = deque([1, 2])
        def f(x): return d[0]
        """,
        ("d.rotate()", "d.appendleft(7)")),
    Hazard("a defaultdict", """
        from collections import defaultdict
        d = defaultdict(lambda: 3, a=1)
        def f(x): return d.get('a')
        """,
        ("d['a'] = 2",),
        ("d['a'] = 1",)),
    Hazard("an ordered dict", """
        from collections import OrderedDict
        d = OrderedDict(a=1, b=2)
        def f(x): return list(d)
        """,
        ("d.move_to_end('a')", "d['c'] = 1")),
    Hazard("a bytearray", """
        b = bytearray(b'abc')
        def f(x): return b[0]
        """,
        ("b[0] = 7",),
        ("b = bytearray(b'abc')",)),
    Hazard("two lists that become one", """
        a, b = [1], [1]
        def f(x): return a is b
        """,
        ("b = a",)),
    Hazard("one list that becomes two", """
        a = b = [1]
        def f(x): return a is b
        """,
        ("b = [1]",)),
    Hazard("a list that holds itself", """
        a = [1]
        a.append(a)
        def f(x): return a[1][0]
        """,
        ("a[0] = 2", "a[1] = [5]")),
    Hazard("a NumPy array", """
        a = np.arange(3.0)
        def f(x): return float(a.sum())
        """,
        ("a[1] = 5", "a = np.arange(4.0)", "a = np.full(3, 1.5)"),
        ("a = np.arange(3.0)",)),
    Hazard("a NumPy number", """
        k = np.float32(2)
        def f(x): return x * k
        """,
        ("k = np.float32(3)", "k = np.float64(2.5)"),
        ("k = np.float32(2)",)),
    # ---- attributes --------------------------------------------------------------------------------------------------
    Hazard("an attribute", """
        class Config: pass
        c = Config(); c.k = 2.0; c.other = 1
        def f(x): return x * c.k
        """,
        ("c.k = 3.0", "c = Config(); c.k = 5.0"),
        ("c.other = 2", "c.more = 3", "c = Config(); c.k = 2.0")),
    Hazard("an attribute that appears", """
        class Config: k = 1.0
        c = Config()
        def f(x): return x * c.k
        """,
        ("c.k = 3.0", "Config.k = 2.0"),
        ("Config.z = 1",)),
    Hazard("an attribute that goes", """
        class Config: k = 1.0
        c = Config(); c.k = 2.0
        def f(x): return x * c.k
        """,
        ("del c.k",)),
    Hazard("hasattr", """
        class C: pass
        c = C()
        def f(x): return x if hasattr(c, 'flag') else -x
        """,
        ("c.flag = 1", "C.flag = 1")),
    Hazard("getattr with a default", """
        class C: pass
        c = C()
        def f(x): return getattr(c, 'k', 1.0) * x
        """,
        ("c.k = 3.0", "C.k = 2.0"),
        ("c.other = 3",)),
    Hazard("a computed attribute name", """
        class C: pass
        c = C(); c.k1 = 1
        n = 1
        def f(x): return getattr(c, 'k' + str(n))
        """,
        ("c.k1 = 2",)),
    Hazard("vars", """
        class C: pass
        c = C(); c.a = 1
        def f(x): return sum(vars(c).values())
        """,
        ("c.a = 2", "c.b = 3")),
    Hazard("__dict__", """
        class C: pass
        c = C(); c.a = 1
        def f(x): return list(c.__dict__)
        """,
        ("c.b = 3", "c.a = c.__dict__.pop('a'); c.b = 0")),
    Hazard("slots", """
        class C: __slots__ = ('a', 'b')
        c = C(); c.a = 1.0; c.b = 0
        def f(x): return x * c.a
        """,
        ("c.a = 2.0",),
        ("c.b = 2", "del c.b")),
    Hazard("a slot that is filled", """
        class C: __slots__ = ('a',)
        c = C()
        def f(x): return hasattr(c, 'a')
        """,
        ("c.a = 2.0",)),
    Hazard("a dataclass", """
        from dataclasses import dataclass
        @dataclass
        class C: a: float; b: float = 1.0
        c = C(2.0)
        def f(x): return x * c.a * c.b
        """,
        ("c.a = 3.0", "c.b = 2.0", "c = C(4.0)"),
        ("c = C(2.0)",)),
    Hazard("a dataclass compared", """
        from dataclasses import dataclass
        @dataclass
        class C: a: float
        c, d = C(2.0), C(2.0)
        def f(x): return c == d
        """,
        ("c.a = 3.0",),
        ("c = C(2.0)",)),
    Hazard("a named tuple", """
        from collections import namedtuple
        P = namedtuple('P', 'a b')
        p = P(1, 2)
        def f(x): return p.a
        """,
        ("p = P(3, 2)", "p = P(2, 1)"),
        ("p = P(1, 2)",)),
    Hazard("an enum", """
        from enum import Enum
        class Mode(Enum): A = 1; B = 2
        mode = Mode.A
        def f(x): return x if mode is Mode.A else -x
        """,
        ("mode = Mode.B",)),
    Hazard("a property", """
        class C:
            def __init__(self): self._k = 2.0
            @property
            def k(self): return self._k
        c = C()
        def f(x): return x * c.k
        """,
        ("c._k = 3.0", "C.k = property(lambda self: 9.0)", "C.k = 7.0")),
    Hazard("a descriptor", """
        class D:
            def __init__(self, v): self.v = v
            def __get__(self, o, owner): return self.v
        class C: k = D(2.0)
        c = C()
        def f(x): return x * c.k
        """,
        ("C.__dict__['k'].v = 3.0", "C.k = 1.0", "D.__get__ = lambda s, o, w: 0", "c.k = 5.0")),
    Hazard("a descriptor that turns into a data descriptor", """
        class D:
            def __get__(self, o, owner): return 1.0
        class C: k = D()
        c = C(); c.k = 2.0
        def f(x): return x * c.k
        """,
        ("D.__set__ = lambda s, o, v: None",)),
    Hazard("__getattr__", """
        class C:
            def __getattr__(self, n): return 2.0
        c = C()
        def f(x): return x * c.k
        """,
        ("c.k = 3.0", "C.__getattr__ = lambda s, n: 4.0", "C.k = 5.0")),
    Hazard("a __getattr__ that appears", """
        class C: pass
        c = C()
        def f(x):
            try: return c.k
            except AttributeError: return x
        """,
        ("C.__getattr__ = lambda s, n: 4.0", "c.k = 1")),
    Hazard("__getattribute__", """
        class C:
            def __getattribute__(self, n): return object.__getattribute__(self, '_' + n)
        c = C(); c._k = 2.0
        def f(x): return x * c.k
        """,
        ("c._k = 3.0",)),
    Hazard("SimpleNamespace", """
        from types import SimpleNamespace
        c = SimpleNamespace(k=2.0, z=1)
        def f(x): return x * c.k
        """,
        ("c.k = 3.0",),
        ("c.z = 5",)),
    Hazard("an attribute of a function", "def f(x): return x * getattr(f, 'k', 1.0)", ("f.k = 3.0",), ("f.other = 1",)),
    Hazard("a changed attribute of a function", """
        def f(x): return x * f.k
        f.k = 2.0
        """,
        ("f.k = 3.0",)),
    Hazard("the name of a function", """
        def g(): pass
        def f(x): return g.__name__
        """,
        ("g.__name__ = 'h'",)),
    Hazard("a class attribute", """
        class C: k = 2.0
        def f(x): return x * C.k
        """,
        ("C.k = 3.0",)),
    Hazard("a dict subclass", """
        class D(dict):
            def __missing__(self, k): return 5
        d = D(a=1)
        def f(x): return d['b']
        """,
        ("D.__missing__ = lambda s, k: 6", "d['b'] = 1")),
    Hazard("a list subclass with attributes", """
        class L(list): pass
        xs = L([1, 2]); xs.k = 3
        def f(x): return xs[0] * xs.k
        """,
        ("xs.k = 4", "xs[0] = 9")),
    Hazard("an int subclass", """
        class I(int): pass
        k = I(3); k.tag = 1
        def f(x): return k + k.tag
        """,
        ("k = I(4); k.tag = 1", "k.tag = 2")),
    Hazard("identity in a format", """
        class C: pass
        c = C()
        def f(x): return f'{c}'
        """,
        ("c = C()",)),
    Hazard("identity in an exception", """
        class C: pass
        c = C()
        def g(c): raise ValueError(f'{c}')
        def f(x):
            try: g(c)
            except ValueError as e: return e.args
        """,
        ("c = C()",)),
    Hazard("one of many lists becomes another", """
        a, b, c, d, e = [1], [1], [1], [1], [1]
        def f(x): return a is b or b is c or c is d or d is e
        """,
        ("e = d",)),
    Hazard("a list of objects", """
        class L:
            def __init__(self, w): self.w = w
        layers = [L(1.0), L(2.0)]
        def f(x): return x * layers[0].w + layers[1].w
        """,
        ("layers[0].w = 3.0", "layers[1] = L(5.0)", "layers.append(L(0)); layers[0].w = 9", "layers.reverse()"),
        ("layers[0] = L(1.0)",)),
)
