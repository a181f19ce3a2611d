"""A cache whose values together stay below a number of bytes."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from swing.byte_cache import OVERHEAD, ByteCache

CALLS = st.lists(
    st.tuples(st.sampled_from(["get", "put", "pop", "peek"]), st.integers(0, 5), st.integers(0, 50))
)


@given(CALLS, st.integers(1, 4))
def test_it_behaves_as_a_list_in_order_of_use_that_is_cut_where_it_is_too_long(calls, room):
    limit, dropped, model = room * (OVERHEAD + 25), [], {}
    cache = ByteCache[list](limit, lambda value: value[0], dropped.append)
    gone = []
    for name, key, size in calls:
        value = [size]
        if name == "pop":
            assert cache.pop(key) is model.pop(key, None)
        elif name == "peek":
            assert cache.peek(key) is model.get(key)
        elif name == "get" and key in model:
            assert cache.get(key, partial(list, [0])) is model[key]
            model[key] = model.pop(key)
        else:
            if name == "get":
                assert cache.get(key, partial(next, iter([value]))) is value
            else:
                cache.put(key, value)
            gone += [model.pop(key)] if key in model else []
            model[key] = value
            while sum(OVERHEAD + n for (n,) in model.values()) > limit and len(model) > 1:
                gone.append(model.pop(next(iter(model))))
        assert len(cache) == len(model)
        assert cache.nbytes == sum(OVERHEAD + n for (n,) in model.values())
    assert list(map(id, dropped)) == list(map(id, gone))
    cache.clear()
    assert (len(cache), cache.nbytes) == (0, 0)
