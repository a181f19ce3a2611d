"""Device buffers without a device: host memory stands for a GPU's, and a few lines for CuPy."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import swing
from swing.executor.gpu import device

MPI = pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))

from swing.executor import allreduce, explain  # noqa: E402
from tests.gpu_standin import OnDevice, install  # noqa: E402
from tests.test_docs import ROOT, blocks  # noqa: E402


@pytest.fixture
def cupy(monkeypatch):
    return install(monkeypatch)


def test_device_arrays_are_staged_in_order_with_their_stream(cupy):
    sendbuf, recvbuf = OnDevice(np.arange(6.0).reshape(2, 3)), OnDevice(np.zeros((2, 3)))
    assert allreduce(MPI.COMM_SELF, sendbuf, recvbuf) is recvbuf
    assert (recvbuf.host == sendbuf.host).all()
    assert cupy.log == ["get", "set", "synchronize"]


@pytest.mark.parametrize("in_place", [lambda b: (b,), lambda b: (MPI.IN_PLACE, b)])
def test_device_arrays_in_place(cupy, in_place):
    buffer = OnDevice(np.arange(6))
    assert allreduce(MPI.COMM_SELF, *in_place(buffer)) is buffer
    assert "set" not in cupy.log  # one rank has nothing to change
    assert (buffer.host == np.arange(6)).all()


def test_device_and_host_may_mix(cupy):
    host, there = np.arange(6.0), OnDevice(np.zeros(6))
    assert (allreduce(MPI.COMM_SELF, [host, MPI.DOUBLE], [there, MPI.DOUBLE])[0].host == host).all()


def test_device_memory_that_can_not_be_staged_is_refused(cupy):
    with pytest.raises(ValueError, match="read-only device memory"):
        allreduce(MPI.COMM_SELF, OnDevice(np.zeros(3), readonly=True))
    strided = OnDevice(np.zeros(3))
    strided.host = np.zeros((4, 4))[:, :2]
    with pytest.raises(ValueError, match=r"cupy\.ascontiguousarray"):
        allreduce(MPI.COMM_SELF, strided)
    assert not cupy.log


def test_explain_says_that_it_stages(cupy):
    told = explain(MPI.COMM_SELF, OnDevice(np.zeros(3)))
    assert "pinned host memory" in str(told)
    assert told.engine == "plain, because the vectors are staged"
    assert not cupy.log


def test_explain_says_where_the_engine_that_was_asked_for_cannot_be(cupy, monkeypatch):
    monkeypatch.setenv("SWING_ENGINE", "compiled")
    assert explain(MPI.COMM_SELF, np.zeros(3)).engine == "compiled"
    ours, x, y = swing.Comm(MPI.COMM_SELF, timeout=5), np.zeros(3), np.zeros(3)
    for told, why in [
        (explain(MPI.COMM_SELF, OnDevice(np.zeros(3))), "because the vectors are staged"),
        (ours.explain("Allreduce", np.zeros(3), np.zeros(3)), "because the call has a timeout"),
        (
            ours.explain("Allgather", np.zeros(3), np.zeros(3)),
            "the only engine for this collective",
        ),
    ]:
        assert told.engine == f"plain, {why}; SWING_ENGINE=compiled does not apply"
    monkeypatch.delenv("SWING_ENGINE")
    told = ours.explain("Allreduce", x, y)
    assert told.engine == "plain, because the call has a timeout"


def test_the_program_of_the_page_runs(cupy, capsys):
    (program,) = blocks(ROOT / "docs" / "gpus.md", "text")
    exec(program, {})
    assert "pinned host memory" in capsys.readouterr().out


def test_mpi_that_is_aware_of_gpus_is_told_addresses(cupy, monkeypatch):
    monkeypatch.setenv("SWING_GPU_AWARE", "1")
    sendbuf, recvbuf = OnDevice(np.arange(6.0).reshape(2, 3)), OnDevice(np.zeros((2, 3)))
    assert "MPI reads GPU memory" in str(explain(MPI.COMM_SELF, sendbuf, recvbuf))
    allreduce(MPI.COMM_SELF, [sendbuf, MPI.DOUBLE], [recvbuf, 6, MPI.DOUBLE])
    assert cupy.log == ["kernel"]  # which nobody has waited for
    cupy.cuda.get_current_stream().synchronize()
    assert (recvbuf.host == sendbuf.host).all()
    monkeypatch.setenv("SWING_GPU_AWARE", "yes")
    with pytest.raises(ValueError, match="SWING_GPU_AWARE must be 0 or 1"):
        allreduce(MPI.COMM_SELF, sendbuf, recvbuf)


def test_the_libraries_of_the_quick_start_do_not_read_gpu_memory():
    from swing.executor.mpi_abi import knows_gpus

    assert knows_gpus() is False


def test_a_device_array_without_cupy_names_the_mend(monkeypatch):
    monkeypatch.setattr(device, "is_device_memory", lambda address: True)
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ImportError, match=r"pip install"):
        allreduce(MPI.COMM_SELF, OnDevice(np.zeros(3)))


@pytest.mark.gpu
def test_a_gpu_is_given_what_the_host_gets():
    import cupy  # not the stand-in

    mine = np.random.default_rng(0).standard_normal(3_000_001).astype(np.float32)
    result = cupy.empty_like(cupy.asarray(mine))
    allreduce(MPI.COMM_SELF, cupy.asarray(mine), result, algorithm="swing")
    assert (result.get() == mine).all()


def test_dlpack_tells_where_memory_is():
    assert device.is_on_device(SimpleNamespace(__dlpack_device__=lambda: (2, 0)))
    assert not device.is_on_device(SimpleNamespace(__dlpack_device__=lambda: (1, 0)))
    assert not device.is_on_device(np.zeros(3))


def test_host_memory_that_is_told_to_be_a_gpus_is_read_where_it_is():
    if device.is_device_memory(np.zeros(1).ctypes.data):
        pytest.fail("the driver takes host memory for its own")
    sendbuf, recvbuf = OnDevice(np.arange(6.0)), OnDevice(np.zeros(6))
    for _ in range(2):
        allreduce(MPI.COMM_SELF, sendbuf, recvbuf)
    allreduce(MPI.COMM_SELF, [sendbuf, MPI.DOUBLE], [recvbuf, 6, MPI.DOUBLE])
    assert (recvbuf.host == np.arange(6)).all()
    assert explain(MPI.COMM_SELF, sendbuf, recvbuf).staging == ""
