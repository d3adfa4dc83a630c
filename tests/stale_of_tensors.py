"""Tensors: what they are, who shares them, what is written in place, gradients, hooks."""
from __future__ import annotations

from stale import FOLLOW, RAISE, Change, Hazard

TENSORS = (
    Hazard("an argument's dtype, shape and values", """
        def f(x): return x * 2 + x.sum() * x.ndim
        """,
        ("args = (tg.ones(3),)", "args = (tg.ones(3, dtype=tg.float64),)", "args = (tg.ones(2, 2),)",
         "args = (tg.ones(3, dtype=tg.int32),)", "args = (tg.tensor(4.0),)"),
        ("args = (tg.tensor(5.0),)", "args = (tg.ones(2, 2) * 3,)")),
    Hazard("sizes that Python reads", """
        def f(x):
            for k in range(x.shape[0]): x = x * 2 + k
            return x, x.shape, x.dtype, x.device
        """,
        ("args = (tg.ones(3),)", "args = (tg.ones(1),)", "args = (tg.ones(0),)",
         "args = (tg.ones(5, 2, dtype=tg.float64),)"),
        ("args = (tg.zeros(5, 2, dtype=tg.float64),)",)),
    Hazard("layouts", """
        def f(x): return x.T * 2, x.reshape(-1)
        args = (tg.ones(2, 3),)
        """,
        ("args = (tg.arange(6.0).reshape(3, 2).T,)", "args = (tg.arange(12.0).reshape(2, 6)[:, ::2],)",
         "args = (tg.arange(3.0).reshape(1, 3).broadcast_to((2, 3)),)", "args = (tg.ones(3, 2),)"),
        ("args = (tg.zeros(3, 2),)",)),
    Hazard("requires_grad flips", """
        w = tg.ones(2)
        def f(x): return x * w
        """,
        ("w.requires_grad_(True)", "w.requires_grad_(False)", "x.requires_grad = True",
         "w = tg.ones(2, requires_grad=True) * 3", "x.requires_grad = False; w = tg.ones(2, dtype=tg.float64)"),
        ("w = tg.zeros(2, requires_grad=True)",)),
    Hazard("leaves and histories", """
        w = tg.ones(2, requires_grad=True)
        def f(x): return x * 2, x.is_leaf, x.grad_fn is None
        """,
        ("args = (w,)", "args = (w * 3,)", "args = (w.detach() * 4,)"),
        ("args = (tg.ones(2) * 5,)",)),
    Hazard("what the history of a Tensor says", """
        w = tg.ones(2, requires_grad=True)
        def f(x): return x * len(type(x.grad_fn).__name__ + x.grad_fn.op)
        args = (w * 2,)
        """,
        ("args = (w.exp(),)", "args = (w.tanh(),)", "args = (w.sqrt(),)"), mode=FOLLOW),
    Hazard("the storage of a Tensor", """
        def f(x): return x * float(x.array[0]) if x.view_of is None else -x
        """,
        ("args = (tg.tensor([5.0, 1.0]),)", "args[0].mul_(2)", "args = (tg.ones(4)[:2] * 1,)",
         "args = (tg.ones(4)[:2],)"),
        mode=FOLLOW),
    Hazard("aliased arguments", """
        y = tg.ones(2)
        def f(a, b):
            a.mul_(2)
            return a + b
        args = (x, y)
        """,
        ("args = (x, x)", "args = (y * 5, y)", "args = (y, y)"),
        ("args = (x, x)",)),
    Hazard("arguments that are views of each other", """
        z = tg.arange(6.0)
        def f(a, b):
            a.mul_(2)
            return a + b
        args = (z[:4], z[2:])
        """,
        ("args = (z[2:], z[:4])", "args = (z[:3], z[1:4])", "args = (z, z[:])"), mode=FOLLOW),
    Hazard("Tensors that are compared by identity", """
        a, b = tg.ones(2), tg.ones(2)
        def f(x): return x + a * 2 if a is b else x + a * b
        """,
        ("b = a", "b = tg.ones(2) * 7", "a = b"),
        ("b = a = tg.ones(2)",)),
    Hazard("results that are inputs", """
        def f(x, k):
            y = x if k > 1 else x * k
            return y, x, [x]
        args = (x, 2)
        """,
        ("args = (x, 1)", "args = (x * 3, 5)", "args = (tg.ones(3), 5)"), settle=2),
    Hazard("results that are captured state", """
        w, held = tg.ones(2), [1, 2]
        class C: pass
        c = C()
        def f(x): return w, held, c, x * 2
        """,
        ("held = [3]", "held.append(4)", "c.k = 1; c = C(); held = [w]"),
        ("w.mul_(3)", "w = tg.zeros(2); held[0] = w")),
    Hazard("results that are views", """
        w = tg.ones(4)
        def f(x): return x[1:], w[1:3], w.reshape(2, 2).T
        """,
        ("w = tg.ones(4, dtype=tg.float64)", "args = (tg.ones(3),)", "w.requires_grad_(True)"),
        ("w.detach().mul_(3)", "args[0].mul_(2)")),
    Hazard("in place on inputs", """
        def f(x):
            x.mul_(2)
            x += k
            return x * 1
        k = 1.0
        """,
        ("k = 2.0", "args = (tg.ones(3),)", Change("x.requires_grad_(True); args = (x,)", RAISE),
         "x.requires_grad_(False)"),
        ("x.zero_()",)),
    Hazard("in place on captured Tensors", """
        w = tg.ones(2)
        def f(x):
            w.mul_(0.5).add_(x)
            return w.sum()
        """,
        ("w = tg.ones(2, dtype=tg.float64)", "args = (tg.ones(1),)", "w = tg.ones(3)"),
        ("w = tg.zeros(3)", "w.mul_(5)")),
    Hazard("in place through views", """
        w = tg.ones(4)
        i = 1
        def f(x):
            v = w[i:i + 2]
            v.mul_(2).add_(x)
            w[0] = v[1]
            return w.sum(), v
        """,
        ("i = 2", "i = 0", "w = tg.ones(5)"),
        ("w = tg.zeros(5)", "w[i] = 7.0")),
    Hazard("in place on a view of what others see", """
        base = tg.zeros(4)
        w = base[1:3]
        def f(x):
            w.add_(x)
            return w * 2
        """,
        ("w = base[0:2]", "w = base[::2]", "w = base.reshape(2, 2)[1]", "base = tg.ones(6); w = base[4:]"),
         mode=FOLLOW),
    Hazard("a Tensor on the memory of an array", """
        a = np.ones(2, np.float32)
        w = tg.from_numpy(a)
        def f(x):
            w.add_(x)
            return w * 2
        """,
        ("a = np.ones(2); w = tg.from_numpy(a)",
         Change("a = np.ones(4, np.float32) * 3; w = tg.from_numpy(a[::2])", FOLLOW), "w = tg.ones(2)"),
        ("w = tg.zeros(2)",)),
    Hazard("the storage of a Tensor is exchanged", """
        w = tg.ones(2)
        def f(x): return x * w
        """,
        ("w.array = np.array([3.0, 4.0])", "w.array = np.array([5.0], np.float32)",
         "w.array = np.array([[1, 2], [3, 4]])"),
        ("w.array = w.array * 2",)),
    Hazard("gradients that accumulate", """
        w = tg.ones(2, requires_grad=True)
        def f(x):
            loss = (w * x * k).sum()
            loss.backward()
            return loss, w.grad
        k = 1.0
        """,
        ("w.grad = None; k = 2.0", "w.grad = tg.ones(2); k = 3.0", "w = tg.ones(1, requires_grad=True)"),
        ("w.grad.zero_()",), settle=2),
    Hazard(".grad replaced", """
        w = tg.ones(2, requires_grad=True)
        w.grad = tg.ones(2) * 2
        def f(x): return x * w.grad if w.grad is not None else x
        """,
        ("w.grad = None", "w.grad = x * 3", "w = tg.ones(2, dtype=tg.float64); w.grad = w * 4"),
        ("w.grad = w * 5", "w.grad.mul_(2)")),
    Hazard("a gradient step", """
        w = tg.ones(2, requires_grad=True)
        lr = 0.1
        def f(x):
            w.grad = None
            loss = ((w * x) ** 2).sum()
            loss.backward()
            with tg.no_grad(): w.sub_(w.grad * lr)
            return loss
        """,
        ("lr = 0.2", "lr = tg.tensor(0.3)", "w = tg.ones(1, requires_grad=True)"),
        ("lr = tg.tensor(0.01)", "w = tg.ones(1, requires_grad=True)")),
    Hazard("no_grad around", """
        w = tg.ones(2, requires_grad=True)
        g = tg.trace(lambda x: x * w)
        def f(x):
            with mode(): return g(x)
        mode = tg.no_grad
        """,
        ("mode = tg.enable_grad", "mode = tg.no_grad; w = w.detach()",
         "w.requires_grad_(True); mode = tg.enable_grad")),
    Hazard("no_grad around the call", """
        w = tg.ones(2, requires_grad=True)
        def f(x): return x * w, tg.is_grad_enabled()
        """,
        ("off = tg.no_grad(); off.__enter__()", "off.__exit__(None, None, None)", "on = tg.no_grad(); on.__enter__()",
         "on.__exit__(None, None, None); w = tg.zeros(2)")),
    Hazard("no_grad inside", """
        w = tg.ones(2, requires_grad=True)
        frozen = True
        def f(x):
            y = x * w
            if frozen:
                with tg.no_grad(): y = y + w
            else:
                y = y + w
            return y * w.detach()
        """,
        ("frozen = False", "w.requires_grad_(False)", "w = tg.zeros(2, requires_grad=True); frozen = 1")),
    Hazard("autocast around", """
        w = tg.ones(2, 2, requires_grad=True)
        g = tg.trace(lambda x: x @ w)
        mode = tg.autocast("bfloat16")
        def f(x):
            with mode: return g(x)
        """,
        ("mode = tg.autocast('float16')", "mode = tg.autocast(enabled=False)", "w = w.detach() * 2",
         "mode = tg.autocast('cpu')", "mode = tg.autocast('cuda')")),
    Hazard("autocast around the call", """
        w = tg.ones(2, 2, requires_grad=True)
        def f(x): return x @ w, tg.is_autocast_enabled()
        """,
        ("on = tg.autocast('bfloat16'); on.__enter__()", "w = tg.zeros(2, 2)",
         "off = tg.autocast('cpu', enabled=False); off.__enter__()", "off.__exit__(None, None, None)",
         "on.__exit__(None, None, None)")),
    Hazard("autocast inside", """
        w = tg.ones(2, 2, requires_grad=True)
        dtype = "bfloat16"
        low = True
        def f(x):
            with tg.autocast(dtype, enabled=low): y = x @ w
            return y, (y.float() * x).sum()
        """,
        ("dtype = tg.float16", "low = False", "low = 1; w = tg.zeros(2, 2, requires_grad=True)")),
    Hazard("detach shares, clone does not", """
        w = tg.ones(2, requires_grad=True)
        sharing = True
        def f(x): return (w.detach() if sharing else w.clone()), x * 2
        """,
        ("sharing = False", "sharing = 1", "w = w.detach() * 2; sharing = 0")),
    Hazard("backward through what was computed outside", """
        w = tg.ones(2, requires_grad=True)
        def f(loss):
            w.grad = None
            (loss * k).backward(retain_graph=True)
            return w.grad * 1
        k = 1.0
        args = ((w * w).sum(),)
        """,
        ("args = ((w * 3).sum(),)", "k = 2.0", "args = (w.exp().sum(),)"), mode=FOLLOW),
    Hazard("a hook on a leaf", """
        w = tg.ones(2, requires_grad=True)
        k = 2.0
        hook = w.register_hook(lambda g: g * k)
        def f(x):
            w.grad = None
            (w * x).sum().backward()
            return w.grad * 1
        """,
        ("k = 3.0", "hook.remove()", "hook = w.register_hook(lambda g: g + k)", "k = tg.tensor(4.0)",
         "w.register_hook(lambda g: g * 10)"),
        ("k = tg.tensor(5.0)",)),
    Hazard("a hook that is registered inside", """
        w = tg.ones(2, requires_grad=True)
        k = 2.0
        def f(x):
            w.grad = None
            y = w * x
            y.register_hook(lambda g: g * k)
            y.sum().backward()
            return w.grad * 1
        """,
        ("k = 3.0", "k = 4.0", "k = tg.ones(2)")),
    Hazard("a hook that collects", """
        w = tg.ones(2, requires_grad=True)
        seen = []
        hook = w.register_hook(lambda g: seen.append(len(seen)))
        def f(x):
            w.grad = None
            (w * x * (1 + len(seen))).sum().backward()
            return w.grad * 1
        """,
        ("seen.clear()", "seen.extend('abc')",
         "hook.remove(); hook = w.register_hook(lambda g: seen.append(g.shape))"), mode=FOLLOW),
    Hazard("a subclass of Tensor", """
        class Named(tg.Tensor): pass
        w = Named(np.ones(2, np.float32)); w.name = 2.0
        def f(x): return x * w * w.name
        """,
        ("w.name = 3.0", "Named.name = property(lambda s: 4.0)", "w = x * 1; f.__code__ = (lambda x: x * w).__code__")),
    Hazard("methods added to Tensor", """
        tg.Tensor.exp = lambda self: self * k
        k = 2.0
        def f(x): return x.exp()
        """,
        ("k = 3.0", "tg.Tensor.exp = lambda self: self + k", "tg.Tensor.exp = lambda self: tg.tanh(self)")),
    Hazard("a Tensor made from captured numbers", """
        ks = [1.0, 2.0]
        def f(x): return x * tg.tensor(ks) + tg.tensor(ks[0]) + tg.full((2,), ks[-1])
        """,
        ("ks[0] = 3.0", "ks[1] = 4", "ks = (5.0, 6.0)", "ks = [7, 8]")),
    Hazard("copies of Tensors", """
        import copy
        w = tg.ones(2, requires_grad=True)
        def f(x): return copy.copy(x) * 2 + copy.deepcopy(w)
        """,
        ("x.mul_(3)", "w = tg.zeros(2)", "args = (x[:1],)"), mode=FOLLOW),
)
