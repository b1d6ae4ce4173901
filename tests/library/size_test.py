#!/usr/bin/env python3
"""size_test.py PROGRAM LIMIT: fails if the program has more bytes than that."""

import os
import sys

size, limit = os.path.getsize(sys.argv[1]), int(sys.argv[2])
print(f"{sys.argv[1]}: {size} bytes, {limit - size} below the limit of {limit}")
sys.exit(size > limit)
