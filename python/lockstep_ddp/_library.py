"""The C library, by ctypes: a group of ranks on one machine, memory that they share, and all-reduces on it.

The contract is include/lockstep/collectives.h. Calls release the interpreter's lock, so other threads run while one waits.
"""
import ctypes
import os
import weakref

_lib = ctypes.CDLL(os.path.join(os.path.dirname(os.path.abspath(__file__)), "liblockstep_ddp.so"))

RANK_LOST = 5
ALL_REDUCE, AVERAGE = 0, 1
DTYPES = {"float64": 0, "float32": 1, "float16": 2, "bfloat16": 3}

_allgather_fn = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class _Err(ctypes.Structure):
    _fields_ = [("rank", ctypes.c_int), ("text", ctypes.c_char * 1024)]


class _Options(ctypes.Structure):
    _fields_ = [("rank", ctypes.c_int), ("world", ctypes.c_int), ("allgather", _allgather_fn), ("ctx", ctypes.c_void_p),
                ("backend", ctypes.c_char_p), ("algorithm", ctypes.c_char_p), ("progress_thread", ctypes.c_int)]


_handle, _out, _err = ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(_Err)
for _name, _result, *_arguments in [
        ("lockstep_comm_open", ctypes.c_int, ctypes.POINTER(_Options), _out, _err),
        ("lockstep_comm_close", None, _handle, ctypes.c_int),
        ("lockstep_comm_alloc", ctypes.c_int, _handle, ctypes.c_size_t, _out, _err),
        ("lockstep_comm_free", None, _handle, ctypes.c_void_p),
        ("lockstep_coll_init", ctypes.c_int, _handle, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int,
         ctypes.c_int, ctypes.c_int, _out, _err),
        ("lockstep_coll_start", ctypes.c_int, _handle, _err),
        ("lockstep_coll_wait", ctypes.c_int, _handle, _err),
        ("lockstep_coll_free", None, _handle)]:
    _function = getattr(_lib, _name)
    _function.restype, _function.argtypes = _result, _arguments


class LockstepError(RuntimeError):
    """The library's sentence."""


class RankLost(LockstepError):
    """Another rank is gone. Final: nothing but the end of the process may follow."""


def _call(name, *arguments):
    err = _Err()
    status = getattr(_lib, name)(*arguments, ctypes.byref(err))
    if status:
        raise (RankLost if status == RANK_LOST else LockstepError)(err.text.decode(errors="replace"))


def _make(name, *arguments):
    handle = ctypes.c_void_p()
    _call(name, *arguments, ctypes.byref(handle))
    return handle


class Comm:
    """The ranks of one machine. Lives until the last block of its memory is gone; never waits for the others to end."""

    def __init__(self, rank, world, allgather, progress_thread):
        """allgather(bytes) -> the bytes of all ranks, joined. Collective. progress_thread: sums go on while Python computes."""
        failed = []

        @_allgather_fn
        def tell(_, mine, everyone, size):
            try:
                ctypes.memmove(everyone, allgather(ctypes.string_at(mine, size)), size * world)
                return 0
            except Exception as why:  # must not unwind through C
                failed.append(why)
                return 1

        try:
            self.handle = _make("lockstep_comm_open", ctypes.byref(_Options(
                rank=rank, world=world, allgather=tell, progress_thread=progress_thread)))
        except LockstepError:
            if failed:
                raise failed[0]
            raise
        weakref.finalize(self, _lib.lockstep_comm_close, self.handle, 0).atexit = False
        self._unused = []

    def alloc(self, size):
        """A block of memory, as a buffer object that frees it at its end."""
        while self._unused:  # a block may end in any thread, a group has but one
            _lib.lockstep_comm_free(self.handle, self._unused.pop())
        address = _make("lockstep_comm_alloc", self.handle, size).value
        block = (ctypes.c_char * size).from_address(address)
        block.owner = self
        weakref.finalize(block, self._unused.append, address).atexit = False
        return block

    def all_reduce(self, block, count, dtype):
        """An average over all ranks, in place, to be started many times. Collective."""
        return AllReduce(self, block, count, dtype)


class AllReduce:
    def __init__(self, comm, block, count, dtype):
        address = ctypes.addressof(block)
        self._handle = _make("lockstep_coll_init", comm.handle, ALL_REDUCE, address, address, count, DTYPES[dtype], AVERAGE, 0)
        self._block = block  # and with it the group

    def start(self):
        _call("lockstep_coll_start", self._handle)

    def wait(self):
        _call("lockstep_coll_wait", self._handle)

    def free(self):
        _lib.lockstep_coll_free(self._handle)
