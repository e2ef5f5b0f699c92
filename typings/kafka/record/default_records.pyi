from collections.abc import Callable

gzip_decode: Callable[[memoryview], bytes]
lz4_decode: Callable[[bytes], bytes]
zstd_decode: Callable[[bytes], bytes]
