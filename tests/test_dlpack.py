"""Objects that offer DLPack: their types, and how long what they offer is in use."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from swing.executor.buffers import dlpack
from swing.executor.buffers.memory import flat, raw


class Offers:
    """An array behind DLPack only, which keeps the capsules that it has offered."""

    def __init__(self, array, versioned=True, element=None):
        self._array, self._versioned, self._element, self.capsules = array, versioned, element, []

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()

    def __dlpack__(self, **arguments):
        if arguments and not self._versioned:
            raise TypeError("this is DLPack 0.8")
        capsule = self._array.__dlpack__(**arguments)
        if self._element is not None:  # another type of as many bits: (code, bits, lanes)
            name = dlpack._name(capsule)
            address = dlpack._pointer(capsule, name) + dlpack._TENSOR[name] + dlpack._TYPE
            element = dlpack._Type.from_address(address)
            element.code, element.bits, element.lanes = self._element
        self.capsules.append(capsule)
        return capsule


@pytest.mark.parametrize("versioned", [False, True])
@pytest.mark.parametrize("code", [*"bhilqBHILQefdFD?"])
def test_the_elements_are_those_of_the_array(code, versioned):
    array = np.arange(12).astype(code)
    for x in (array, array.reshape(3, 4), np.asfortranarray(array.reshape(3, 4)), array[:0]):
        found = flat(Offers(x, versioned), "x")
        assert found.dtype == x.dtype
        assert found.tolist() == x.ravel(order="K").tolist()
        assert raw(Offers(x, versioned), "x").tobytes() == found.tobytes()
    found[...] = 0  # writable


@pytest.mark.parametrize(
    ("dtype", "stand_in", "element"),
    [("g", "D", (2, 128, 1)), ("F", "d", (2, 32, 2)), ("D", "D", (2, 64, 2))],
)
def test_types_that_numpy_does_not_read_by_dlpack(dtype, stand_in, element):
    if np.dtype(dtype).itemsize != np.dtype(stand_in).itemsize:
        pytest.skip("this machine has another long double")
    array = np.arange(6).astype(dtype)
    found = flat(Offers(array.view(stand_in), element=element), "x")
    assert found.dtype == np.dtype(dtype)
    assert found.tolist() == array.tolist()


def test_bfloat16_is_read_by_its_package():
    pytest.importorskip("ml_dtypes")
    offers = Offers(np.array([0x3F80, 0x4000], "u2"), element=(4, 16, 1))
    assert flat(offers, "x").astype(float).tolist() == [1, 2]


@pytest.mark.parametrize("element", [(10, 8, 1), (0, 4, 1), (2, 8, 1), (0, 8, 4), (4, 8, 1)])
def test_a_type_that_mpi_lacks_is_no_row_of_bytes(element):
    with pytest.raises(TypeError, match=r"^x holds elements of \d bits .*use a numpy array"):
        flat(Offers(np.zeros(8, "u1"), element=element), "x")


@pytest.mark.parametrize("read", [flat, raw])
def test_a_capsule_lasts_as_long_as_its_memory_is_in_use(read):
    # mpi4py's tests, for one, free the description of the memory with the capsule.
    offers = Offers(np.zeros(4, "f4"))
    found = read(offers, "x")
    capsule = offers.capsules[0]
    del offers
    count = sys.getrefcount(capsule)
    assert '"dltensor' in repr(capsule)  # nobody else has to free the memory
    del found
    assert sys.getrefcount(capsule) == count - 1


@pytest.mark.parametrize("read", [flat, raw])
def test_memory_that_cannot_be_offered(read):
    with pytest.raises(ValueError, match=r"^x offers no memory \(.*not contig.*copy it to a numpy"):
        read(Offers(np.zeros((4, 4))[:, ::2]), "x")
    fixed = np.zeros(4)
    fixed.flags.writeable = False
    assert not read(Offers(fixed), "x").flags.writeable


def test_a_negated_view_is_refused_with_and_without_a_datatype():
    negated = Offers(np.ones(4))
    negated.is_neg = lambda: True
    for read in (flat, raw):
        with pytest.raises(ValueError, match="negated view"):
            read(negated, "x")


@pytest.mark.parametrize("read", [flat, raw])
def test_an_object_with_only_a_part_of_dlpack_is_no_buffer(read):
    class NoDevice:
        def __dlpack__(self):
            raise AssertionError("not reached")

    with pytest.raises(TypeError, match="sendbuf is a NoDevice without a buffer"):
        read(NoDevice(), "sendbuf")
