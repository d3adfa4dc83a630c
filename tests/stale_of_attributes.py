"""Attributes of instances, classes and modules, and all that decides what an attribute is."""
from __future__ import annotations

from stale import FOLLOW, RAISE, Change, Hazard

ATTRIBUTES = (
    Hazard("an attribute of an instance", """
        class C: pass
        c = C(); c.k = 2.0
        def f(x): return x * c.k
        """,
        ("c.k = 3.0", "c = C(); c.k = 4.0", Change("del c.k", RAISE), "C.k = 5.0", "c.k = 6.0",
         "c.__dict__['k'] = 7.0"),
        ("c.other = 1", "d = C()")),
    Hazard("an attribute of a class, hidden by one of the instance and back", """
        class C: k = 2.0
        c = C()
        def f(x): return x * c.k
        """,
        ("c.k = 3.0", "C.k = 5.0; c.k = 4.0", "del c.k", "C.k = 6.0"),
        ("C.other = 1",)),
    Hazard("a chain of attributes", """
        class C: pass
        a = C(); a.b = C(); a.b.c = C(); a.b.c.k = 2.0
        def f(x): return x * a.b.c.k
        """,
        ("a.b.c.k = 3.0", "d = C(); d.k = 4.0; a.b.c = d", "d.k = 5.0", "e = C(); e.c = C(); e.c.k = 1.0; a.b = e"),
        ("a.other = 1", "a.b.other = 2")),
    Hazard("__dict__ replaced", """
        class C: pass
        c = C(); c.k = 2.0
        def f(x): return x * c.k
        """,
        ("c.__dict__ = {'k': 3.0}", "d = {'k': 4.0}; c.__dict__ = d", "d['k'] = 5.0", "c.__dict__.update(k=6.0)")),
    Hazard("attributes by computed names", """
        class C: pass
        c = C(); c.k1 = 2.0; c.k2 = 3.0
        n = 1
        def f(x): return x * getattr(c, f'k{n}') + getattr(c, 'k3', 1.0)
        """,
        ("c.k1 = 4.0", "n = 2", "c.k3 = 5.0", "del c.k3", "setattr(c, 'k' + '2', 7.0)")),
    Hazard("every attribute in a loop", """
        class C: pass
        c = C(); c.a = tg.ones(2); c.b = tg.ones(2) * 2
        def f(x): return sum((v * (k + 1) for k, v in enumerate(vars(c).values())), x)
        """,
        ("c.c = tg.ones(2) * 3", "del c.a; c.a = tg.ones(2)", "c.b = 5.0"),
        ("c.c = tg.ones(2) * 7",)),
    Hazard("a property", """
        class C:
            def __init__(self): self._k = 2.0
            @property
            def k(self): return self._k * scale
        scale = 1.0
        c = C()
        def f(x): return x * c.k
        """,
        ("c._k = 3.0", "scale = 2.0", "C.k = property(lambda s: 10.0)", "C.k = 11.0", "c.__dict__['k'] = 12.0")),
    Hazard("a property whose setter counts", """
        class C:
            writes = 0
            @property
            def k(self): return self._k
            @k.setter
            def k(self, v):
                self.writes += 1
                self._k = v
        c = C()
        def f(x):
            c.k = 2.0
            return x * c.k + c.writes
        """,
        ("c.writes = 10", "c.writes = -5", "C.k = 3.0; c.writes = 1"), mode=FOLLOW),
    Hazard("__getattr__", """
        class C:
            def __init__(self): self.data = {'k': 2.0}
            def __getattr__(self, name): return self.data[name]
        c = C()
        def f(x): return x * c.k
        """,
        ("c.data['k'] = 3.0", "c.k = 4.0", "del c.k", "C.__getattr__ = lambda s, n: 5.0", "C.k = 6.0")),
    Hazard("__getattribute__ that appears", """
        class C: k = 2.0
        c = C()
        def f(x): return x * c.k
        """,
        ("C.__getattribute__ = lambda s, n: 3.0 if n == 'k' else object.__getattribute__(s, n)",
         "C.__getattribute__ = lambda s, n: 8.0 if n == 'k' else object.__getattribute__(s, n)",
         "del C.__getattribute__", "C.k = 4.0")),
    Hazard("__getattr__ of a module, and one that hides it", """
        import sys, types
        m = types.ModuleType('m')
        ks = {'k': 2.0}
        m.__getattr__ = lambda name: ks[name]
        def f(x): return x * m.k
        """,
        ("ks['k'] = 3.0", "m.k = 4.0", "del m.k", "m.__getattr__ = lambda name: len(name) * 5.0")),
    Hazard("descriptors", """
        class Scaled:
            def __init__(self, by): self.by = by
            def __get__(self, o, cls): return o.base * self.by
        class C:
            k = Scaled(2.0)
            def __init__(self, base): self.base = base
        c = C(1.0)
        def f(x): return x * c.k
        """,
        ("c.base = 2.0", "vars(C)['k'].by = 5.0", "C.k = Scaled(7.0)", "c.__dict__['k'] = 1.0",
         "Scaled.__set__ = lambda s, o, v: None", "Scaled.__get__ = lambda s, o, cls: 9.0")),
    Hazard("slots", """
        class A: __slots__ = ('a',)
        class B(A): __slots__ = ('b',)
        o = B(); o.a = 2.0; o.b = tg.ones(2)
        def f(x): return x * o.a + o.b
        """,
        ("o.a = 3.0", "o.b = 4.0", Change("del o.a", RAISE), "o.a = 5.0", "o = B(); o.a = 1.0; o.b = x",
         "A.a = property(lambda s: 8.0)")),
    Hazard("a Tensor in a slot that is replaced", """
        class C: __slots__ = ('h',)
        c = C(); c.h = tg.zeros(2)
        def f(x):
            c.h = c.h + x
            return c.h * 2
        """,
        ("c.h = tg.ones(2, dtype=tg.float64)", "c = C(); c.h = tg.ones(2, requires_grad=True)", "c.h = tg.zeros(2)"),
        ("c.h = tg.ones(2)",), settle=2),
    Hazard("dataclasses", """
        from dataclasses import dataclass, field, replace
        @dataclass
        class Config:
            scale: float = 2.0
            shifts: list = field(default_factory=lambda: [1.0])
        c = Config()
        def f(x): return x * c.scale + c.shifts[0]
        """,
        ("c.scale = 3.0", "c.shifts[0] = 2.0", "c = replace(c, scale=4.0)", "c = Config(5.0, [6.0])",
         "Config.scale = 1.0; del c.scale")),
    Hazard("the fields of a dataclass", """
        from dataclasses import dataclass, fields
        @dataclass
        class C:
            a: float = 2.0
            b: float = 3.0
        c = C()
        def f(x): return sum((x * getattr(c, field.name) for field in fields(c)), x)
        """,
        ("c.a = 4.0", "C.__dataclass_fields__.pop('b')", "c.b = 9.0; c.a = 5.0", "c = 1; c = C(7.0)"),
        ("other = C()",)),
    Hazard("frozen dataclasses", """
        from dataclasses import dataclass, replace
        @dataclass(frozen=True, slots=True)
        class Config:
            scale: float = 2.0
            deep: bool = False
        c = Config()
        def f(x): return tg.tanh(x * c.scale) if c.deep else x * c.scale
        """,
        ("c = replace(c, scale=3.0)", "c = replace(c, deep=True)", "object.__setattr__(c, 'scale', 5.0)"),
        ("c = Config(5.0, True)",)),
    Hazard("a dataclass made in the function, whose default factory reads a global", """
        from dataclasses import dataclass, field
        ks = [2.0]
        @dataclass
        class C:
            ks: list = field(default_factory=lambda: list(ks))
        def f(x): return x * sum(C().ks)
        """,
        ("ks.append(3.0)", "ks[0] = 5.0", "ks = [1.0]"), settle=2),
    Hazard("a dataclass is compared", """
        from dataclasses import dataclass
        @dataclass
        class C:
            a: int
            b: float
        c, d = C(1, 2.0), C(1, 2.0)
        def f(x): return x * 2 if c == d else x * 3
        """,
        ("c.b = 3.0", "d.b = 3.0", "C.__eq__ = lambda s, o: s is o", "d = c")),
    Hazard("named tuples", """
        from collections import namedtuple
        P = namedtuple('P', 'a b')
        p = P(2.0, tg.ones(2))
        def f(x): return P(x * p.a, p.b + p[0])
        """,
        ("p = P(3.0, p.b)", "p = p._replace(a=4.0)", "p = P(p.b, 5.0)",
         "p = (1.0, 2.0); P.a = property(lambda s: s[0] * 3); p = P(*p)"),
        ("p = P(1.0, 2.0)",)),
    Hazard("enums", """
        from enum import Enum
        class Mode(Enum):
            ADD = 1
            MULTIPLY = 2
        mode = Mode.ADD
        def f(x): return x + 2 if mode is Mode.ADD else x * 5
        """,
        ("mode = Mode.MULTIPLY", "mode = Mode(1)", "mode = 1")),
    Hazard("members of an IntEnum", """
        from enum import IntEnum
        class Size(IntEnum):
            SMALL = 2
            LARGE = 3
        size = Size.SMALL
        def f(x): return x * size + Size.LARGE
        """,
        ("size = Size.LARGE", "size = 5", "Size = type('Other', (), {'LARGE': 7})")),
    Hazard("a method patched", """
        class C:
            def g(self, x): return x * 2
        c = C()
        def f(x): return c.g(x)
        """,
        ("C.g = lambda s, x: x * 3", "c.g = lambda x: x * 4", "del c.g", "C.g = staticmethod(lambda x: x * 5)",
         "C.g = classmethod(lambda cls, x: x * 6)", "C.g.__func__.__code__ = (lambda cls, x: x * 7).__code__")),
    Hazard("inheritance", """
        class A:
            def g(self, x): return x * 2
        class B:
            def g(self, x): return x * 3
        class C(A): pass
        c = C()
        def f(x): return c.g(x)
        """,
        ("C.__bases__ = (B,)", "B.g = lambda s, x: x * 4",
         "class D(C):\n    def g(self, x): return super().g(x) * 2\nc = D()",
         "C.__bases__ = (A,)", "c.__class__ = A; A.g = lambda s, x: x * 9")),
    Hazard("the order of bases", """
        class A: k = 2.0
        class L(A): pass
        class R(A): k = 3.0
        class C(L, R): pass
        c = C()
        def f(x): return x * c.k
        """,
        ("L.k = 4.0", "C.__bases__ = (R, L)", "del R.k; A.k = 7.0; del L.k", "C.k = 1.0")),
    Hazard("super and cooperative methods", """
        class A:
            def g(self, x): return x + 1
        class B(A):
            def g(self, x): return super().g(x) * 2
        class C(A):
            def g(self, x): return super().g(x) * 3
        class D(B, C): pass
        d = D()
        def f(x): return d.g(x)
        """,
        ("A.g = lambda s, x: x + 5", "C.g = lambda s, x: x",
         "B.g = lambda s, x: super(B, s).g(x) * 2 + 1; C.g = lambda s, x: super(C, s).g(x) * 3",
         "D.__bases__ = (C, B)", "B.g = A.g")),
    Hazard("metaclasses", """
        class Meta(type):
            @property
            def k(cls): return 2.0
            def __call__(cls, x): return x * cls.k
        class C(metaclass=Meta): pass
        def f(x): return C(x)
        """,
        ("Meta.k = property(lambda c: 3.0)", "Meta.k = 4.0", "C.k = 5.0", "Meta.__call__ = lambda c, x: x + 1",
         "C.__class__ = type('Other', (Meta,), {'__call__': lambda c, x: x + 2})")),
    Hazard("__class_getitem__ and types as keys", """
        class C:
            ks = {int: 2.0, float: 3.0}
            def __class_getitem__(cls, kind): return cls.ks[kind]
        kind = int
        def f(x): return x * C[kind]
        """,
        ("C.ks[int] = 4.0", "kind = float", "C.__class_getitem__ = classmethod(lambda cls, k: 6.0)",
         "C.ks = {}; C.__class_getitem__ = lambda k: 7.0")),
    Hazard("__slots__ of a base, hidden by a class attribute", """
        class A: __slots__ = ('k',)
        class B(A): pass
        b = B(); b.k = 2.0
        def f(x): return x * b.k
        """,
        ("b.k = 3.0", "B.k = 4.0", "b.k = 5.0", "del b.k; del B.k; b.k = 6.0")),
    Hazard("attributes of modules", """
        import sys, types
        m = types.ModuleType('m'); m.k = 2.0; m.g = lambda x: x + 1
        def f(x): return m.g(x) * m.k
        """,
        ("m.k = 3.0", "m.g = lambda x: x - 1", Change("del m.k", RAISE), "m.k = 4.0",
         "n = types.ModuleType('n'); n.k, n.g = 5.0, m.g; m = n"),
        ("m.other = 1",)),
    Hazard("sys.modules is swapped", """
        import sys, types
        def made(k):
            m = types.ModuleType('hazard_module'); m.k = k
            return m
        sys.modules['hazard_module'] = made(2.0)
        def f(x):
            import hazard_module
            from hazard_module import k
            return x * hazard_module.k + k
        """,
        ("sys.modules['hazard_module'].k = 3.0", "sys.modules['hazard_module'] = made(4.0)",
         Change("del sys.modules['hazard_module']", RAISE), "sys.modules['hazard_module'] = made(5.0)")),
    Hazard("a function of a module patched", """
        import math
        def f(x): return x * math.sqrt(4.0)
        """,
        ("math.sqrt = math.exp", "math.sqrt = lambda v: v * 5",
         "real = math; math = type('fake', (), {'sqrt': staticmethod(lambda v: 1.0)})")),
    Hazard("the library patched", """
        real = tg.relu
        def f(x): return tg.relu(x - 1.5) + x.exp()
        """,
        ("tg.relu = tg.tanh", "tg.relu = lambda x: real(x) * 10", "tg.Tensor.exp = lambda s: s * 0", "tg.relu = real")),
    Hazard("the operators of Tensors are patched", """
        real = tg.Tensor.__mul__
        def f(x): return -(x * 3)[0] + len(x)
        """,
        ("tg.Tensor.__mul__ = lambda s, k: real(s, k) + 1", "tg.Tensor.__mul__ = real",
         "tg.Tensor.__neg__ = lambda s: s + 5", "tg.Tensor.__len__ = lambda s: 7",
         Change("del tg.Tensor.__getitem__", RAISE), "tg.Tensor.__getitem__ = lambda s, k: s.sum()",
         "tg.Tensor.__mul__ = tg.Tensor.__sub__"),
        ("tg.Tensor.unheard_of = 1; del tg.Tensor.unheard_of",)),
    Hazard("operators of a class", """
        class V:
            def __init__(self, v): self.v = v
            def __add__(self, other): return V(self.v + other.v)
            def __mul__(self, k): return V(self.v * k)
        a = V(2.0)
        def f(x): return (V(x) + a * 2).v
        """,
        ("a.v = 3.0", "V.__add__ = lambda s, o: V(s.v - o.v)", "V.__mul__ = lambda s, k: V(s.v)", "a = V(tg.ones(2))"),
        ("a.v = tg.ones(2) * 4",)),
    Hazard("__eq__ and __hash__ with side effects", """
        class K:
            asked = 0
            def __init__(self, v): self.v = v
            def __hash__(self): return hash(self.v)
            def __eq__(self, other):
                K.asked += 1
                return self.v == other.v
        ks = {K(1): 2.0, K(2): 3.0}
        def f(x): return x * ks[K(1)]
        """,
        ("ks[K(1)] = 4.0", "K.asked = 100; ks[K(1)] = 2.5", "ks = {K(1): 5.0}"), mode=FOLLOW),
    Hazard("__eq__ and __hash__ that are pure", """
        class K:
            def __init__(self, v): self.v = v
            def __hash__(self): return hash(self.v)
            def __eq__(self, other): return self.v == other.v
        a, b = K(1), K(2)
        ks = {a: 2.0, b: 3.0}
        def f(x): return x * ks.get(K(1), 7.0)
        """,
        ("ks[a] = 4.0", "a.v = 9", "a.v = 1", "K.__eq__ = lambda s, o: False",
         "K.__hash__ = lambda s: 1; K.__eq__ = lambda s, o: True; ks = {K(5): 8.0}")),
    Hazard("__len__, __bool__, __iter__, __contains__", """
        class C:
            def __init__(self): self.xs = [1.0, 2.0]
            def __len__(self): return len(self.xs)
            def __iter__(self): return iter(self.xs)
        c = C()
        def f(x): return (x * len(c) + sum(c)) if c and 2.0 in c else x
        """,
        ("c.xs.append(3.0)", "C.__bool__ = lambda s: False", "del C.__bool__", "C.__contains__ = lambda s, v: False",
         "C.__contains__ = lambda s, v: True; C.__iter__ = lambda s: iter([10.0])", "c.xs = []")),
    Hazard("__init_subclass__ and __set_name__", """
        class Base:
            def __init_subclass__(cls, k=2.0): cls.k = k * scale
        scale = 1.0
        def f(x):
            class C(Base, k=3.0): pass
            return x * C.k
        """,
        ("scale = 2.0", "Base.__init_subclass__ = classmethod(lambda cls, k: setattr(cls, 'k', k + 7))",
         "scale = 5.0; Base.__init_subclass__ = classmethod(lambda cls, k: setattr(cls, 'k', scale))", "scale = 6.0")),
    Hazard("abstract classes and isinstance", """
        from abc import ABC
        class A(ABC): pass
        class B: pass
        class D: pass
        o = B()
        def f(x): return x * 2 if isinstance(o, A) else x * 3
        """,
        ("A.register(B)", "o = D()", "A.register(D)", "o = 1")),
    Hazard("match statements", """
        class P:
            __match_args__ = ('a', 'b')
            def __init__(self, a, b): self.a, self.b = a, b
        p = P(1, 2.0)
        def f(x):
            match p:
                case P(1, b): return x * b
                case {'k': k}: return x * k
                case [a, *_]: return x + a
                case _: return x
        """,
        ("p.b = 3.0", "p.a = 2", "P.__match_args__ = ('b', 'a')\np.b = 1", "p = {'k': 4.0}", "p['k'] = 5.0",
         "p = [6.0, 1]", "p = None")),
    Hazard("cached properties", """
        from functools import cached_property
        class C:
            def __init__(self, k): self.base = k
            @cached_property
            def k(self): return self.base * 2
        c = C(1.0)
        def f(x): return x * c.k
        """,
        ("c.base = 3.0; del c.k", "c.k = 4.0", "c = C(5.0)"), settle=3),
)
