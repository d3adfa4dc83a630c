"""Functions as values: arguments, lambdas, partials, decorators; iterators, generators, context managers; recursion."""
from __future__ import annotations

from stale import FOLLOW, RAISE, Change, Hazard

FUNCTIONS = (
    Hazard("functions as arguments", """
        def g(x): return x * 2
        def f(x, g): return g(x) + 1
        args = (x, g)
        """,
        ("args = (x, tg.exp)", "args = (x, lambda x: x * 3)", "args = (x, lambda x: x * 4)",
         "g.__code__ = (lambda x: x * 5).__code__; args = (x, g)"),
        ("args = (x + 1, g)",)),
    Hazard("lambdas that close over a number", """
        def make(k): return lambda x: x * k
        def f(x, g): return g(x)
        args = (x, make(2.0))
        """,
        ("args = (x, make(3.0))", "args = (x, make(4))", "args[1].__closure__[0].cell_contents = 5.0"),
        ("args = (x, make(5.0))",)),
    Hazard("lambdas in a list", """
        k = 1.0
        gs = [lambda x: x * 2, lambda x: x + k]
        def f(x):
            for g in gs: x = g(x)
            return x
        """,
        ("k = 5.0", "gs.reverse()", "gs.append(tg.tanh)", "gs[0] = gs[1]", "gs = ()")),
    Hazard("partials", """
        from functools import partial
        def g(x, a, b=1.0): return x * a + b
        h = partial(g, a=2.0)
        def f(x): return h(x)
        """,
        ("h.keywords['a'] = 3.0", "h = partial(g, b=5.0, a=1.0)", "g.__defaults__ = (7.0,); h = partial(g, a=1.0)",
         "h = partial(tg.multiply, x)")),
    Hazard("partialmethod and bound methods", """
        from functools import partialmethod
        class C:
            k = 2.0
            def g(self, x, a): return x * a * self.k
            h = partialmethod(g, a=3.0)
        c, d = C(), C()
        bound = c.g
        def f(x): return bound(x, 1.0) + c.h(x)
        """,
        ("c.k = 5.0", "d.k = 7.0; bound = d.g", "bound.__func__.__code__ = (lambda s, x, a: x - a).__code__",
         "C.h = partialmethod(C.g, a=9.0)", "bound = lambda x, a: d.g(x, a); C.h = lambda s, x, *a: x * 4"),
        settle=3),
    Hazard("a bound method of a list", """
        xs = [1.0, 2.0]
        count = xs.count
        def f(x): return x * count(2.0)
        """,
        ("xs.append(2.0)", "count = [2.0].count", "xs.clear(); count = xs.count")),
    Hazard("decorators", """
        import functools
        scale = 2.0
        def scaled(g):
            @functools.wraps(g)
            def inner(*args): return g(*args) * scale
            return inner
        @scaled
        def f(x): return x + 1
        """,
        ("scale = 3.0", "f.__wrapped__.__code__ = (lambda x: x + 2).__code__",
         "f.__closure__[0].cell_contents = tg.exp",
         "f.__code__ = (lambda g: (lambda *args: g(*args) - 1))(0).__code__")),
    Hazard("a decorator with state", """
        def counted(g):
            def inner(x):
                inner.calls += 1
                return g(x) * inner.calls
            inner.calls = 0
            return inner
        @counted
        def f(x): return x + 1
        """,
        ("f.calls = 10", "f.calls = -1", "f.__closure__[0].cell_contents = lambda x: x"), mode=FOLLOW),
    Hazard("attributes of functions", """
        def g(x): return x * g.k
        g.k = 2.0
        def f(x): return g(x)
        """,
        ("g.k = 3.0", "g.__dict__ = {'k': 4.0}", Change("del g.k", RAISE), "g.k = 5.0"),
        ("g.other = 1",)),
    Hazard("single dispatch", """
        from functools import singledispatch
        @singledispatch
        def g(k, x): return x
        @g.register
        def _(k: int, x): return x * 2
        k = 1
        def f(x): return g(k, x)
        """,
        ("k = 1.5", "g.register(float)(lambda k, x: x * 3)", "g.register(object)(lambda k, x: x * 4); k = 'a'"),
         mode=FOLLOW),
    Hazard("a table of functions by name", """
        table = {'relu': tg.relu, 'tanh': tg.tanh}
        name = 'relu'
        def f(x): return table[name](x - 1.5)
        """,
        ("name = 'tanh'", "table['tanh'] = lambda x: x * 2", "table = {'tanh': tg.exp}",
         "name = 'x'; table['x'] = tg.relu")),
    Hazard("functions found by getattr", """
        name = 'relu'
        def f(x): return getattr(tg, name)(x - 1.5)
        """,
        ("name = 'tanh'", "tg.tanh = tg.exp", "name = 'exp'; tg.exp = tg.relu")),
    Hazard("methods of Tensors found by name", """
        name = 'e' + 'xp'
        def f(x): return getattr(x, name)()
        """,
        ("name = 'tanh'", "name = 'e' + 'xp'", "tg.Tensor.exp = lambda self: self * 5", "tg.Tensor.exp = tg.tanh")),
    Hazard("operator getters", """
        from operator import attrgetter, itemgetter, methodcaller
        class C:
            def g(self, x): return x * self.k
        c = C(); c.k = 2.0; c.inner = C(); c.inner.k = 3.0
        get, item = attrgetter('inner.k'), itemgetter('a')
        d = {'a': 1.0}
        def f(x): return x * get(c) + item(d)
        """,
        ("c.inner.k = 4.0", "d['a'] = 5.0", "get = attrgetter('k')", "c.k = 6.0",
         "item = itemgetter('b'); d['b'] = 7.0")),
    Hazard("map, filter, sorted with a key", """
        key = lambda v: v
        keep = lambda v: v > 1
        vs = [3.0, 1.0, 2.0]
        def f(x):
            for v in sorted(filter(keep, vs), key=key): x = x * 2 + v
            return x
        """,
        ("key = lambda v: -v", "keep = lambda v: v < 3", "vs.append(0.5)", "key = abs; keep = None")),
    Hazard("reduce and accumulate", """
        from functools import reduce
        from itertools import accumulate
        vs = [1.0, 2.0]
        op = lambda a, b: a + b
        def f(x): return reduce(op, [x * v for v in accumulate(vs)])
        """,
        ("vs.append(3.0)", "op = lambda a, b: a * b", "vs.reverse(); op = tg.maximum")),
    Hazard("an iterator from outside", """
        it = iter([2.0] * 50)
        def f(x): return x * next(it, 1.0)
        """,
        ("it = iter([5.0] * 50)", "it = iter([])", "it = iter(range(7, 50))"), mode=FOLLOW),
    Hazard("a generator from outside", """
        def count():
            n = 0
            while True:
                n += step
                yield n
        step = 1
        it = count()
        def f(x): return x * next(it)
        """,
        ("step = 5", "it = count()", "it = (v for v in range(1000, 2000))"), mode=FOLLOW),
    Hazard("an itertools counter", """
        import itertools
        ids = itertools.count()
        def f(x): return x + next(ids)
        """,
        ("ids = itertools.count(100)", "ids = itertools.cycle([7, 8])", "ids = iter(range(500, 600))"), mode=FOLLOW),
    Hazard("a generator made in the function", """
        ks = [1.0, 2.0]
        def weights():
            for k in ks: yield k * scale
        scale = 1.0
        def f(x): return sum((x * w for w in weights()), x)
        """,
        ("ks.append(3.0)", "scale = 2.0", "weights = lambda: [0.5]")),
    Hazard("generators with send", """
        k = 2.0
        def g(x):
            while True: x = yield x * k
        def f(x):
            it = g(x)
            y = next(it)
            return y + it.send(y + 1)
        """,
        ("k = 3.0", "k = tg.ones(2)", "def g(x):\n    y = yield x + 1\n    yield y * k"),
        ("k = tg.ones(2) * 3",)),
    Hazard("a user's iterator class", """
        class Count:
            def __init__(self, n): self.n = n
            def __iter__(self): return self
            def __next__(self):
                self.n -= step
                if self.n < 0: raise StopIteration
                return self.n
        step = 1
        n = 3
        def f(x):
            for k in Count(n): x = x * 2 + k
            return x
        """,
        ("n = 4", "step = 2", "Count.__next__ = lambda s: next(iter(()))")),
    Hazard("a context manager of a class", """
        class Scale:
            current = 1.0
            def __init__(self, k): self.k = k
            def __enter__(self): self.before, Scale.current = Scale.current, self.k
            def __exit__(self, *error): Scale.current = self.before
        k = 2.0
        def f(x):
            with Scale(k): y = x * Scale.current
            return y * Scale.current
        """,
        ("k = 3.0", "Scale.current = 5.0", "Scale.__enter__ = lambda s: None; Scale.__exit__ = lambda s, *e: None")),
    Hazard("contextmanager", """
        from contextlib import contextmanager
        stack = [1.0]
        @contextmanager
        def scaled(k):
            stack.append(k)
            try: yield stack[-1] * extra
            finally: stack.pop()
        extra = 1.0
        k = 2.0
        def f(x):
            with scaled(k) as s: y = x * s
            return y + stack[-1]
        """,
        ("k = 3.0", "extra = 2.0", "stack[0] = 5.0", "stack.append(6.0)")),
    Hazard("an ExitStack, suppress", """
        from contextlib import ExitStack, suppress
        kinds = (ValueError,)
        bad = True
        def f(x):
            y = x
            with suppress(*kinds):
                if bad: raise ValueError('bad')
                y = x * 2
            return y
        """,
        ("bad = False", Change("bad = True; kinds = ()", RAISE), "kinds = (Exception,)",
         "kinds = (KeyError, ValueError); bad = 0")),
    Hazard("recursion", """
        depth = 3
        def go(x, n=0): return x if n == depth else go(x * 2 + n, n + 1)
        f = go
        """,
        ("depth = 1", "depth = 5", "go = lambda x, n=0: x - 1")),
    Hazard("recursion over a structure", """
        tree = (1.0, (2.0, 3.0))
        def f(x): return go(x, tree)
        def go(x, node): return x * node if isinstance(node, float) else go(x, node[0]) + go(x, node[1])
        """,
        ("tree = ((1.0, 2.0), 3.5)", "tree = (tree, tree)", "tree = 5.0", "go = lambda x, node: x")),
    Hazard("mutual recursion", """
        n = 3
        def even(x, k): return x if k == 0 else odd(x + 1, k - 1)
        def odd(x, k): return x * 2 if k == 0 else even(x * 3, k - 1)
        def f(x): return even(x, n)
        """,
        ("n = 4", "odd = lambda x, k: x * 10", "n = 0", "even = odd")),
    Hazard("traced functions in traced functions", """
        k = 2.0
        @tg.trace
        def g(x): return x * k
        def f(x): return g(x) + g(x * 2)
        """,
        ("k = 3.0", "g = tg.trace(lambda x: x * 5)", "g = tg.exp", "g = lambda x: x - k")),
    Hazard("a traced function that is an argument", """
        k = 2.0
        @tg.trace
        def g(x): return x * k
        def f(x, g): return g(x) + 1
        args = (x, g)
        """,
        ("k = 3.0", "args = (x, tg.trace(lambda x: x * 5))", "args = (x, g.eager)",
         "g.eager.__code__ = (lambda x: x * 7).__code__")),
    Hazard("traced functions that call each other by turns", """
        n = 2
        @tg.trace
        def f(x, k=0): return x if k == n else g(x * 2, k + 1)
        @tg.trace
        def g(x, k): return x if k == n else f(x + 1, k + 1)
        """,
        ("n = 3", "g.eager.__code__ = (lambda x, k: x * 9).__code__", "g = lambda x, k: x * n", "n = 5")),
    Hazard("__wrapped__, inspect", """
        import inspect
        def g(x, k=2.0): return x * k
        def f(x): return g(x) * len(inspect.signature(g).parameters)
        """,
        ("g.__defaults__ = (3.0,)", "def g(x, k=4.0, m=1): return x * k", "g = lambda x: x"), mode=FOLLOW),
    Hazard("callable instances and __call__", """
        class Layer:
            def __init__(self, k): self.k = k
            def __call__(self, x): return x * self.k
        layers = [Layer(2.0), Layer(3.0)]
        def f(x):
            for layer in layers: x = layer(x)
            return x
        """,
        ("layers[0].k = 4.0", "layers.reverse(); layers.append(Layer(0.5))", "Layer.__call__ = lambda s, x: x + s.k",
         "layers[0].__call__ = None; layers[0].k = 7.0")),
    Hazard("a weak reference", """
        import weakref
        class C: k = 2.0
        c = C()
        r = weakref.ref(c)
        def f(x): return x * r().k if r() is not None else x
        """,
        ("c.k = 3.0", "c = C(); c.k = 4.0", "r = weakref.ref(c)"), mode=FOLLOW),
    Hazard("__del__", """
        log = []
        class C:
            def __del__(self): log.append('gone')
        def f(x):
            C()
            return x * (1 + len(log))
        """,
        ("log.clear()", "C.__del__ = lambda s: log.clear()", "C.__del__ = lambda s: log.extend('ab')"), mode=FOLLOW),
    Hazard("eval and exec", """
        text = 'x * 2'
        def f(x): return eval(text, {'x': x})
        """,
        ("text = 'x * 3'", "text = 'x + 1'", "text = '-x'"), mode=FOLLOW),
    Hazard("globals() and locals()", """
        k = 2.0
        def f(x): return x * globals()['k'] + len(locals())
        """,
        ("k = 3.0", "globals()['k'] = 4.0", "k = tg.ones(2)"), mode=FOLLOW),
)
