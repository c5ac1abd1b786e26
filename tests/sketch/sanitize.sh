#!/usr/bin/env bash
# Build the compiled core with AddressSanitizer and UBSan and run its tests in it:
# sanitize.sh PYTHON FOLDER. A finding aborts the run.
set -euo pipefail
python=$1 folder=$2
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')

# A copy of the package, in which the instrumented core is the one that is found.
mkdir -p "$folder/wtools"
cp -r "$root/wtools/." "$folder/wtools"
rm -f "$folder"/wtools/sketch/_core*.so
gcc -shared -fPIC -O1 -g -fno-omit-frame-pointer -ffp-contract=off -Wall -Wextra -Werror -Wno-psabi \
    -fsanitize=address,undefined -fno-sanitize-recover=all -DPy_LIMITED_API=0x030A0000 \
    -I"$include" "$root"/wtools/sketch/csrc/*.c -o "$folder/wtools/sketch/_core.abi3.so"

cd "$folder"
export LD_PRELOAD="$(gcc -print-file-name=libasan.so):$(gcc -print-file-name=libubsan.so)"
# Python itself keeps memory to its end; everything else is an error.
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
export PYTHONPATH="$folder:$root/tests"
"$python" -c 'import wtools; assert wtools.__file__.startswith("'"$folder"'"), wtools.__file__'
"$python" -m pytest -q -x --import-mode=importlib -p no:cacheprovider -o pythonpath= \
    -c /dev/null --rootdir "$root" -W ignore -m "not slow" \
    "$here/test_cores.py" "$here/test_bins.py" "$here/test_runner.py" "$here/test_difference.py"
