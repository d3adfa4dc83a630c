"""Paths: flags, values that decide, exceptions, Modules and their modes, optimizers, arrays as arguments."""
from __future__ import annotations

from stale import FOLLOW, RAISE, Change, Hazard

MODEL = """
        class Net(tg.nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.drop, self.second = tg.nn.Linear(2, 3), tg.nn.Dropout(0.5), tg.nn.Linear(3, 2)
            def forward(self, x): return self.second(self.drop(tg.relu(self.first(x))))
        net = Net()
"""

PATHS = (
    Hazard("two paths that share a suffix", """
        flag, k = True, 2.0
        def f(x):
            y = x * 2 if flag else x * 3
            return (y + k).tanh().sum()
        """,
        ("flag = False", "k = 3.0", "flag = True", "k = 2.0", "flag = None"),
        ("flag = True",)),
    Hazard("two paths by a value, with a suffix that reads a flag", """
        k = 2.0
        def f(x):
            y = x * 2 if x.sum() > 0 else x / 2
            return y * k
        """,
        ("args = (-x,)", "k = 3.0", "args = (x,)", "k = 2.0"),
        ("args = (-x,)", "args = (x * 3,)")),
    Hazard("a branch that a captured Tensor decides", """
        limit = tg.tensor(10.0)
        def f(x): return x * 2 if x.sum() < limit else x - limit
        """,
        ("limit.sub_(9)", "limit = tg.tensor(5.0)", "limit = 1.0"),
        ("x.mul_(2)",)),
    Hazard("and, or, not, chained comparisons", """
        low, high = tg.tensor(0.0), 5.0
        def f(x):
            s = x.sum()
            if low < s < high and not (s == 1 or x[0] < -3): return x + 1
            return x - 1
        """,
        ("high = 2.0", "low.sub_(9); high = 4.0", "low = 3.5", "args = (x * 0 - 4,); low = -100.0")),
    Hazard("while by value", """
        factor, limit = 2.0, 20.0
        def f(x):
            n = 0
            while x.sum() < limit:
                x = x * factor
                n += 1
            return x, n
        """,
        ("limit = 50.0", "factor = 3.0", "args = (x * 100,)"),
        ("args = (x * 200,)",)),
    Hazard("an integer that is read", """
        n = tg.tensor(2)
        ks = [1.0, 2.0, 3.0]
        def f(x): return x * ks[n] + int(n)
        """,
        ("n.sub_(1)", "ks[1] = 5.0", "n = tg.tensor(0)"),
        ("n.add_(0)",)),
    Hazard("a float that is read", """
        w = tg.tensor(2.0)
        def f(x): return x * 2 if w.item() > 1.5 else x * float(w)
        """,
        ("w.sub_(1)", "w.mul_(0.5)", "w = tg.tensor(3.0)"),
        ("w = tg.tensor(3.0)",)),
    Hazard("a number that is only returned", """
        def f(x):
            loss = (x * k).sum()
            value = loss.item()
            return value, x * 2
        k = 1.0
        """,
        ("k = 2.0", "k = tg.tensor(3.0)", "args = (tg.ones(3, dtype=tg.int64),)"),
        ("k = tg.tensor(4.0)", "x.mul_(5)")),
    Hazard("random numbers, then a branch", """
        def f(x):
            r = tg.rand(1)
            return x * r if r.sum() > limit else x + tg.rand(2)
        limit = 2.0
        """,
        ("limit = -1.0", "tg.manual_seed(7); limit = 3.0", "tg.manual_seed(8); limit = -2.0"),
        ("tg.manual_seed(9)",)),
    Hazard("callbacks that look inside", """
        seen = []
        def f(x):
            tg.debug.callback(seen.append, (x * k).sum())
            return x * k
        k = 2.0
        """,
        ("k = 3.0", "seen = [1]; k = 4.0", "k = tg.ones(2)"),
        ("seen.clear()", "x.mul_(2)")),
    Hazard("assertions", """
        limit = 10.0
        def f(x):
            assert x.sum() < limit, f'beyond {limit}'
            return x * 2
        """,
        (Change("limit = 1.0", RAISE), "limit = 20.0", Change("x.mul_(100)", RAISE), "limit = 1e9"),
        ("x.mul_(2)",)),
    Hazard("an exception half way, with state already changed", """
        w, bad = tg.ones(2), False
        def f(x):
            w.mul_(2)
            if bad: raise ValueError('bad')
            w.add_(x)
            return w * 1
        """,
        (Change("bad = True", RAISE), "bad = False", Change("bad = 1", RAISE), "bad = 0; w = tg.ones(2)"),
        ("w = tg.zeros(2)",)),
    Hazard("an exception by value, with state already changed", """
        w = tg.ones(2)
        def f(x):
            w.add_(x)
            if w.sum() > limit: raise ValueError('beyond')
            return w * 1
        limit = 1000.0
        """,
        (Change("limit = 1.0", RAISE), "limit = 2000.0", Change("w.add_(5000)", RAISE), "w.zero_(); limit = 3000.0")),
    Hazard("an exception that counts", """
        n, bad = [0], True
        def f(x):
            n[0] += 1
            if bad: raise ValueError(n[0])
            return x * n[0]
        """,
        (Change("bad = False", FOLLOW), "bad = True; n[0] = 50", Change("bad = 0; n[0] = 100", FOLLOW)), mode=RAISE),
    Hazard("exceptions that are caught", """
        d = {}
        def f(x):
            try: return x * d['k']
            except KeyError as error: return x * len(str(error))
            finally: x.sum()
        """,
        ("d['k'] = 3.5", "del d['k']; x.mul_(2)", "d['k'] = tg.ones(2)"),
        ("d['k'] = tg.ones(2) * 4",)),
    Hazard("shapes that do not fit", """
        w = tg.ones(3)
        def f(x):
            try: return x + w
            except Exception: return x * 2
        """,
        ("w = tg.ones(2)", "w = tg.ones(4)", "args = (tg.ones(4),)"),
        ("w = tg.zeros(4)",)),
    Hazard("filters and sums by value", """
        xs = [tg.tensor(1.0), tg.tensor(-2.0), tg.tensor(3.0)]
        def f(x): return x * len([v for v in xs if v > 0]) + sum(v for v in xs if v < limit)
        limit = 2.0
        """,
        ("limit = 5.0", "xs[1].mul_(-1)", "xs.append(tg.tensor(0.5))"),
        ("xs[0].mul_(1.5)",)),
    Hazard("a Module and its modes", MODEL + """
        def f(x): return net(x)
        """,
        ("net.eval()", "net.drop.p = 0.9; net.train()", "net.drop.training = False",
         "net.second = tg.nn.Linear(3, 5)", "net.drop = tg.nn.Tanh()"),
        ("net.first.weight = tg.nn.Parameter(tg.ones(3, 2))",)),
    Hazard("layers added, removed, swapped", """
        layers = tg.nn.Sequential(tg.nn.Linear(2, 2), tg.nn.ReLU())
        def f(x): return layers(x)
        """,
        ("layers.append(tg.nn.Linear(2, 3))", "layers[1] = tg.nn.Tanh()",
         "layers = tg.nn.Sequential(*list(layers)[:2])", "layers[0].bias = None")),
    Hazard("a Module whose forward is patched", MODEL + """
        def f(x): return net(x)
        net.eval()
        """,
        ("tg.relu = tg.tanh", "Net.forward = lambda s, x: s.second(s.first(x))", "net.forward = lambda x: x * 2",
         "del net.forward")),
    Hazard("buffers and running statistics", """
        norm = tg.nn.BatchNorm1d(2)
        args = (tg.tensor([[1.0, 2.0], [3.0, 5.0]]),)
        def f(x): return norm(x)
        """,
        ("norm.eval()", "norm.train(); norm.momentum = 0.5", "norm.eps = 0.5", "norm.weight = None; norm.bias = None"),
        ("norm.running_mean.mul_(0)",)),
    Hazard("an optimizer", """
        w = tg.nn.Parameter(tg.ones(2))
        opt = tg.optim.Adam([w], lr=0.1)
        def f(x):
            opt.zero_grad()
            loss = ((w * x) ** 2).sum()
            loss.backward()
            opt.step()
            return loss
        """,
        ("w = tg.nn.Parameter(tg.ones(2)); opt = tg.optim.SGD([w], lr=0.1)",
         "opt = tg.optim.SGD([w], lr=0.1, weight_decay=0.1)",
         "w = tg.nn.Parameter(tg.ones(1)); opt = tg.optim.Adam([w], lr=0.1)"),
        ("opt.param_groups[0]['lr'] = 0.5",), settle=3),
    Hazard("hooks and attributes of parameters", """
        w = tg.nn.Parameter(tg.ones(2))
        def f(x): return x * w, [p.shape for p in params]
        params = [w]
        """,
        ("params.append(tg.nn.Parameter(tg.ones(3)))", "w.requires_grad_(False)", "w = tg.ones(1); params.clear()")),
    Hazard("methods", """
        class Model:
            scale = 2.0
            @tg.trace
            def g(self, x): return x * self.scale
        m = Model()
        f = m.g
        """,
        ("m.scale = 3.0", "del m.scale; Model.scale = 4.0", "m.scale = tg.ones(2)",
         "other = Model(); other.scale = 5.0; f = other.g"),
        ("other.name = 'other'",)),
    Hazard("classmethods and staticmethods", """
        class A:
            scale = 2.0
            @classmethod
            @tg.trace
            def g(cls, x): return x * cls.scale + cls.h(x)
            @staticmethod
            def h(x): return x + 1
        class B(A): scale = 3.0
        f = A.g
        """,
        ("A.scale = 4.0", "A.h = staticmethod(lambda x: x - 1)", "f = B.g",
         "B.h = classmethod(lambda cls, x: x * cls.scale)"),
        ("A.other = 1",)),
    Hazard("a number argument with many values", """
        def f(x, lr): return x * lr
        args = (x, 0.1)
        """,
        ("args = (x, 0.2)", "args = (x, 3)", "args = (x, True)"),
        ("args = (x, 0.4)", "args = (x, 0.5)")),
    Hazard("a number argument that Python reads", """
        def f(x, n):
            for k in range(n): x = x * 2 + k
            return x if n > 2 else -x
        args = (x, 2)
        """,
        ("args = (x, 3)", "args = (x, 1)", "args = (x, 4)"),
        ("args = (x * 2, 4)",), settle=2),
    Hazard("arguments by name and in order", """
        def f(x, **ks):
            for name, k in ks.items(): x = x * k + len(name)
            return x
        kwargs = {'a': 2.0, 'bb': 3.0}
        """,
        ("kwargs = {'bb': 3.0, 'a': 2.5}", "kwargs = {'a': 2.0}", "kwargs = {}", "kwargs = {'a': tg.ones(2)}"),
        ("kwargs = {'a': tg.ones(2) * 2}",)),
    Hazard("arguments that are text, None, flags", """
        def f(x, how=None, flag=False): return getattr(x, how or 'exp')() if flag else x * 2
        args = (x, None, True)
        """,
        ("args = (x, 'tanh', True)", "args = (x, 'sum', 1)", "args = (x, 'sum', [])", "args = (x, 'abs', tg.exp)")),
    Hazard("arrays as arguments", """
        def f(a, b):
            a *= 2
            return np.tanh(a) + b
        args = (np.ones(2, np.float32), np.ones(2, np.float32))
        """,
        ("args = (np.ones(2), np.ones(2))", "args = (np.ones(3), 1.0)", "args = (np.ones((2, 2)), np.ones(2))"),
        ("args = (np.zeros((2, 2)), np.ones(2) * 5)",), settle=2),
    Hazard("arrays and captured arrays", """
        w = np.array([2.0, 3.0])
        def f(a): return np.sum(a * w) + w[0]
        args = (np.ones(2),)
        """,
        ("w[0] = 5.0", "w = w[::-1]", "w = w.astype(np.float32) * 2"),
        ("args = (np.ones(2) * 4,)",), settle=2),
)
