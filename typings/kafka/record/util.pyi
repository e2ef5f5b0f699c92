crc32c_c: object
