"""Builds the compiled core of wtools.sketch; wtools works without it, on NumPy.

Everything else about the package is in pyproject.toml.
"""

import sysconfig
from glob import glob

from setuptools import Extension, setup

# One wheel for every Python from 3.10 on. Builds without the GIL have no stable ABI.
stable = not sysconfig.get_config_var("Py_GIL_DISABLED")

core = Extension(
    "wtools.sketch._core",
    sorted(glob("wtools/sketch/csrc/*.c")),
    depends=sorted(glob("wtools/sketch/csrc/*.h")),
    define_macros=[("Py_LIMITED_API", "0x030A0000")] if stable else [],
    py_limited_api=stable,
    # No contraction: every instruction set gives the same result to the last bit. No fast-math:
    # NaN and infinities are meant, and linking with it would flush the process's subnormals.
    extra_compile_args=["-O3", "-ffp-contract=off", "-fvisibility=hidden", "-Wno-psabi"],
    optional=True,
)

setup(
    ext_modules=[core],
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if stable else {},
)
