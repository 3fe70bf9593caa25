"""What this machine has: a GPU, and the libraries of CUDA on the loader's path or in Python's site-packages."""

import collections
import csv
import io
import os
import pathlib
import platform
import shutil
import site
import subprocess
import sys
import sysconfig

# Beginnings of the file names; `libcuda` comes with the driver.
WANTED = ("libnvrtc.so", "libcublasLt.so", "libcudnn.so")
OPEN = """
import ctypes
driver = ctypes.CDLL("libcuda.so.1")
count = ctypes.c_int()
error = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
assert not error, f"the driver says error {error}"
assert count.value, "the driver knows no device"
name = ctypes.create_string_buffer(100)
device = ctypes.c_int()
driver.cuDeviceGet(ctypes.byref(device), 0)
driver.cuDeviceGetName(name, 100, device)
print(name.value.decode())
"""

Libraries = collections.namedtuple("Libraries", "folders missing")
Gpu = collections.namedtuple("Gpu", "name error")


def libraries(named):
    """Folders for the loader's path, and what is in none of them."""
    on_the_path = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True).stdout if shutil.which("ldconfig") else ""
    on_the_path += " ".join(name for folder in loader_path() for name in names(folder))
    folders = [folder.resolve() for folder in named]
    missing = [wanted for wanted in WANTED if wanted not in on_the_path and not any(has(folder, wanted) for folder in folders)]
    for folder in site_folders():
        found = [wanted for wanted in missing if has(folder, wanted)]
        if found:
            folders.append(folder)
            missing = [wanted for wanted in missing if wanted not in found]
    return Libraries(folders, missing)


def loader_path():
    return [pathlib.Path(folder) for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]


def names(folder):
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def has(folder, wanted):
    return any(name.startswith(wanted) for name in names(folder))


def site_folders():
    """Folders of libraries inside NVIDIA's packages: of this Python, and of the others that may be on the path."""
    roots = [*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("purelib"), *sys.path]
    roots += [str(path) for root in ("/opt", "/usr/local", "/usr/lib/python3") for path in pathlib.Path(root).glob("*/.venv/lib/python3*/site-packages")]
    seen = dict.fromkeys(pathlib.Path(root) for root in roots if root)
    return [folder for root in seen for folder in sorted(root.glob("nvidia/*/lib"))]


def gpu(libraries):
    """The first GPU, asked for in a process of its own."""
    path = [str(folder) for folder in libraries.folders] + [os.environ.get("LD_LIBRARY_PATH", "")]
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(part for part in path if part)}
    try:
        said = subprocess.run([sys.executable, "-c", OPEN], capture_output=True, text=True, timeout=60, env=environment)
    except subprocess.TimeoutExpired:
        return Gpu("", "the driver does not answer")
    if said.returncode == 0:
        return Gpu(said.stdout.strip(), "")
    return Gpu("", said.stderr.strip().splitlines()[-1] if said.stderr.strip() else f"exit code {said.returncode}")


def smi(*fields):
    """One line of figures by name, as nvidia-smi has them; `None` where it is not there. What it does not know is `[unknown]`."""
    if not shutil.which("nvidia-smi"):
        return None
    together = ask_smi(*fields)
    if together is not None or len(fields) == 1:
        return together
    found = {field: ask_smi(field) for field in fields}
    return {field: said[field] if said else "[unknown]" for field, said in found.items()} if any(found.values()) else None


def ask_smi(*fields):
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits", "--id=0"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if said.returncode:
        return None
    values = next(csv.reader(io.StringIO(said.stdout), skipinitialspace=True))
    return dict(zip(fields, values))


def describe(found, libraries):
    about = [f"{platform.system()} {platform.release()}, {platform.libc_ver()[1] or 'unknown'} C library, Python {platform.python_version()}, {os.cpu_count()} processors"]
    about.append(f"GPU: {found.name}" if found.name else f"no GPU ({found.error})")
    driver = smi("driver_version") if found.name else None
    about += [f"driver {driver['driver_version']}"] if driver else []
    about += [f"libraries from {', '.join(map(str, libraries.folders))}"] if libraries.folders else []
    about += [f"not found: {', '.join(libraries.missing)}"] if libraries.missing else []
    return "; ".join(about)
