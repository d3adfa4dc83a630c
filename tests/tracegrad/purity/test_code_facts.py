"""What code objects mention, the same on every version of CPython."""
from __future__ import annotations

import pytest

from tracegrad.purity.bytecode import steps
from tracegrad.purity.code_facts import Mentions, facts_of, family


def facts(source: str):
    """The facts of the one function that the source defines."""
    namespace: dict = {}
    exec(source, namespace)
    return facts_of(namespace["f"].__code__)


def test_names_are_told_apart_by_how_they_are_used():
    found = facts("def f(x):\n    import a.b\n    from c import d\n    x.w.run()\n    x.z = g(h)\n    return x.v")
    assert found.attributes == {"w", "run", "z", "v", "a", "b", "c", "d"}
    assert found.globals == ("g", "h")
    assert found.values == {"h", "w", "v", "d"}
    assert found.imports == {"a.b", "c"}


@pytest.mark.parametrize(("body", "expected"), [
    ("return getattr(x, n)", (False, True)),
    ("return getattr(n, x)", (True, False)),
    ("return getattr(x, 'k')", (False, False)),
    ("return getattr(x, 'k', 1.0)", (False, False)),
    ("return getattr(x.a.b, 'k', None)", (False, False)),
    ("return hasattr(x, 'k' + n)", (False, True)),
    ("return hasattr(n, 'k' + x)", (True, False)),
    ("return getattr(n, 'k' + x)", (True, False)),
    ("get = getattr; return get(x, 'k')", (True, False)),
    ("return x.__dict__['k']", (False, False)),
    ("return x.__dict__.get('k')", (False, False)),
    ("return x.__dict__.get('k', n)", (False, False)),
    ("return 'k' in x.__dict__", (False, False)),
    ("return x.__dict__", (False, True)),
    ("return n.__dict__", (True, False)),
    ("return vars(x)", (False, True)),
    ("return vars(n)", (True, False)),
    ("return eval(x)", (True, False)),
    ("return n.k", (False, False)),
    ("return '{.k}'.format(x)", (False, False)),
    ("return n.format(x)", (True, False)),
])
def test_computed_names_are_found_and_constant_ones_are_not_called_computed(body, expected):
    found = facts(f"def f(x):\n    {body}")
    assert (found.computed, found.computed_on_self) == expected
    if "'k'" in body or ".k" in body:
        assert "k" in found.attributes


@pytest.mark.parametrize(("body", "expected"), [
    ("return f'{x}'", (True, False, False)),
    ("return f'{x!r}'", (True, False, False)),
    ("return f'{x:.2f}'", (True, False, True)),
    ("return str(x)", (True, False, False)),
    ("return id(x)", (True, False, False)),
    ("return {x, 1}", (True, False, False)),
    ("return x + 1", (False, False, False)),
    ("raise ValueError(f'{x}')", (False, True, False)),
    ("raise ValueError(repr(x))", (False, True, False)),
    ("try:\n        raise ValueError(f'{x}')\n    except ValueError as e: return e", (True, False, False)),
])
def test_looking_at_identity(body, expected):
    found = facts(f"def f(x):\n    {body}")
    assert (found.by_identity, found.by_identity_if_raised, found.formats_numbers) == expected


@pytest.mark.parametrize(("body", "expected"), [
    ("return x == n", True), ("return x != n", True), ("return x in n", True), ("return x is n", True),
    ("return x < n", False), ("return x is None", False), ("return x", False),
])
def test_comparisons(body, expected):
    assert facts(f"def f(x):\n    {body}").compares is expected


def test_a_called_attribute_of_an_imported_module_is_no_value():
    namespace: dict = {}
    exec("import m\ndef f(x):\n    m.called(m.used)\n    return m.a.b(x)", namespace | {"__builtins__": {
        "__import__": lambda *a: None}}, namespace)
    assert facts_of(namespace["f"].__code__).values == {"m", "used", "a"}


def test_class_patterns_mention_their_attributes():
    found = facts("def f(x):\n    match x:\n        case C(a=1, b=y): return y")
    assert {"a", "b", "__match_args__"} <= found.attributes


def test_nested_code_is_the_family_of_its_parent():
    namespace: dict = {}
    exec("def f(x):\n    def g(y):\n        return lambda: y.deep\n    return g(x.near)", namespace)
    code = namespace["f"].__code__
    assert [c.co_name for c in family(code)] == ["f", "g", "<lambda>"]
    mentions = Mentions()
    mentions.add_family(code)
    assert mentions.attributes == {"near", "deep"}
    assert all(mentions.covers(c) for c in family(code))


def test_equal_code_of_two_modules_is_not_the_same_code():
    one, two = (compile("def f(): return k", "same.py", "exec") for _ in range(2))
    first, second = one.co_consts[0], two.co_consts[0]
    assert first == second and first is not second
    assert not Mentions([first]).covers(second)


def test_many_names_need_extended_arguments():
    names = [f"a{k}" for k in range(600)]
    found = facts("def f(x):\n" + "".join(f"    x.{n}\n" for n in names) + "    return last_global\n")
    assert found.attributes == set(names) and found.globals == ("last_global",)


def test_steps_leave_out_what_names_nothing():
    namespace: dict = {}
    exec("def f(x): return g(x.a)", namespace)
    found = [(s.kind, s.value) for s in steps(namespace["f"].__code__) if s.kind != "other"]
    assert found == [("global", "g"), ("local", "x"), ("attribute", "a"), ("call", None), ("leave", None)]
