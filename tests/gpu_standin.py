"""Host memory that claims to be a GPU's, and what `swing.executor.gpu` uses of CuPy."""

from __future__ import annotations

import mmap
import os
import shutil
import sys
import tempfile
import weakref
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace

import numpy as np
from mpi4py import MPI

from swing.executor.gpu import device, gpu_aware


class OnDevice:
    """Host memory that is told to be a GPU's, and only copied as such."""

    def __init__(self, values, readonly=False):
        self.host = np.array(values, order="K")
        self.readonly = readonly

    @classmethod
    def of(cls, memory):
        """With this memory itself, not a copy."""
        self = cls(())
        self.host = memory
        return self

    @property
    def __cuda_array_interface__(self):
        shape, typestr = self.host.shape, self.host.dtype.str
        data = (self.host.ctypes.data, self.readonly)
        strides = None if self.host.flags.c_contiguous else self.host.strides
        return {
            "shape": shape, "typestr": typestr, "data": data, "strides": strides, "version": 3
        }  # fmt: skip


class Nccl:
    """NCCL between the ranks of the world: a group is over when the stream comes to it."""

    NCCL_UINT8 = 1

    def __init__(self, stream):
        self.stream, self.group = stream, None

    def get_unique_id(self):
        return (1, 2, 3)

    def NcclCommunicator(self, size, name, rank):
        assert (size, name, rank) == (MPI.COMM_WORLD.size, (1, 2, 3), MPI.COMM_WORLD.rank)
        comm = MPI.COMM_WORLD.Dup()

        def begin(call, address, nbytes, kind, peer, stream):
            assert (kind, stream) == (self.NCCL_UINT8, self.stream.ptr)
            self.group.append(lambda: call(MPI.buffer.fromaddress(address, nbytes), peer))

        return SimpleNamespace(
            send=lambda *given: begin(comm.Isend, *given),
            recv=lambda *given: begin(comm.Irecv, *given),
            destroy=comm.Free,
            abort=lambda: None,
        )

    def groupStart(self):
        assert self.group is None
        self.group = []

    def groupEnd(self):
        self.stream.log.append("group")
        group, self.group = self.group, None
        self.stream.queue.append(lambda: MPI.Request.Waitall([call() for call in group]))


class Stream:
    """Kernels and copies to the host are over as late as can be: when somebody waits for them.

    Copies to the device are over at once, so that what is copied too early is copied wrong.
    """

    ptr = 77

    def __init__(self, log):
        self.queue, self.log = [], log

    def record(self):
        n = len(self.queue)
        return SimpleNamespace(synchronize=lambda: self.run(n))

    def synchronize(self):
        self.log.append("synchronize")
        self.run(len(self.queue))

    def run(self, n):
        for i in range(n):
            if self.queue[i]:
                self.queue[i]()
                self.queue[i] = None


class Array:
    """A CuPy array; ``owner`` is what keeps its memory."""

    def __init__(self, memory, stream, owner=None):
        self.memory, self.stream, self.owner = memory, stream, owner
        self.shape, self.dtype, self.flags = memory.shape, memory.dtype, memory.flags
        self.device = SimpleNamespace(id=0)
        self.nbytes, self.data = memory.nbytes, SimpleNamespace(ptr=memory.ctypes.data)

    @property
    def __cuda_array_interface__(self):
        return OnDevice.of(self.memory).__cuda_array_interface__

    def __len__(self):
        return len(self.memory)

    def __getitem__(self, some):
        return Array(self.memory[some], self.stream, self.owner)

    def reshape(self, *shape, order):
        return Array(self.memory.reshape(*shape, order=order), self.stream, self.owner)

    def view(self, dtype):
        return Array(self.memory.view(dtype), self.stream, self.owner)

    def get(self, *, out, stream=None, blocking=True):
        self.stream.log.append("get")
        sent = self.memory.copy()
        self.stream.queue.append(lambda: np.copyto(out, sent))
        if blocking:
            self.stream.run(len(self.stream.queue))

    def set(self, host, stream=None):
        self.stream.log.append("set")
        np.copyto(self.memory, host)


class Device(nullcontext):
    """The only GPU."""

    def use(self):
        pass


class Driver:
    """Memory that other processes can open by a handle: files for it, handles are their names."""

    CUDARuntimeError = RuntimeError

    def __init__(self):
        self.files, self.opened = {}, {}
        self.folder = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def getDeviceCount(self):
        return 1

    def memory(self, nbytes):
        """CuPy's ``Memory``."""
        number, name = tempfile.mkstemp(dir=self.folder)
        os.truncate(name, nbytes)
        file = mmap.mmap(number, nbytes)
        os.close(number)
        address = np.frombuffer(file, np.uint8).ctypes.data
        self.files[address] = file, name
        return SimpleNamespace(ptr=address, device=nullcontext())

    def ipcGetMemHandle(self, address):
        return self.files[address][1].encode()

    def ipcOpenMemHandle(self, handle):
        with open(handle.decode(), "r+b") as file:
            opened = mmap.mmap(file.fileno(), 0)
        address = np.frombuffer(opened, np.uint8).ctypes.data
        self.opened[address] = opened
        return address

    def ipcCloseMemHandle(self, address):
        del self.opened[address]


def install(monkeypatch):
    """Put the stand-in where CuPy is looked for; what it does is in ``log``."""
    cupy, cupyx = ModuleType("cupy"), ModuleType("cupyx")
    cupy.log = []
    stream, driver = Stream(cupy.log), Driver()
    cupy.is_available = lambda: True

    def asarray(buffer):
        if isinstance(buffer, Array):
            return buffer
        return Array(buffer.host if isinstance(buffer, OnDevice) else buffer.copy(), stream)

    def at(shape, dtype, pointer):
        memory = MPI.buffer.fromaddress(pointer.address, np.prod(shape, dtype=int) * dtype.itemsize)
        return Array(np.asarray(memory).view(dtype).reshape(shape), stream, pointer.owner)

    def kernel(ufunc):
        def queue(*operands, out=None):
            *operands, out = operands if out is None else (*operands, out)
            for a in operands:  # as CuPy's own functions do, and no kernel of one's own
                assert a is out or a.memory.ctypes.data != out.memory.ctypes.data
            cupy.log.append("kernel")
            stream.queue.append(lambda: ufunc(*(a.memory for a in operands), out=out.memory))

        return queue

    cupy.asarray, cupy.ndarray = asarray, at
    pool = []  # what is freed while kernels wait to use it is not used for anything else

    def empty(n, dtype):
        pool.append(np.full(n, 0xAA, dtype))
        return Array(pool[-1], stream)

    cupy.empty, cupy.float32 = empty, np.float32
    cupy.ones = lambda n, dtype: Array(np.ones(n, dtype), stream)
    cupy.copyto = lambda out, array: kernel(lambda a, out: np.copyto(out, a))(array, out=out)
    for ufunc in (np.add, np.multiply, np.maximum, np.minimum, np.bitwise_xor):
        setattr(cupy, ufunc.__name__, kernel(ufunc))

    def elementwise(given, result, operation, name):
        def reduce(*values, out):
            names = {f"x{i}": value for i, value in enumerate(values)}
            np.copyto(out, eval(operation.removeprefix("y = "), {"T": lambda y: y}, names))

        return lambda *operands: kernel(reduce)(*operands[:-1], out=operands[-1])

    cupy.ElementwiseKernel = elementwise
    cupy.cuda = SimpleNamespace(
        get_current_stream=lambda: stream,
        Memory=driver.memory,
        UnownedMemory=lambda address, nbytes, owner, device=-1: SimpleNamespace(
            address=address, owner=owner
        ),
        MemoryPointer=lambda memory, offset: memory,
        Device=Device,
        runtime=driver,
        nccl=Nccl(stream),
    )

    def empty_pinned(shape, dtype, order):
        array = np.empty(shape, dtype, order)
        array.reshape(-1, order="A").view(np.uint8).fill(0xAA)
        return array

    cupyx.empty_pinned = empty_pinned
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupy.cuda", cupy.cuda)
    monkeypatch.setitem(sys.modules, "cupyx", cupyx)
    monkeypatch.setattr(device, "is_device_memory", lambda address: True)
    gpu_aware.kernel_of.cache_clear()
    return cupy
