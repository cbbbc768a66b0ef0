"""The machine: what it is, and what programs need to run on it."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

# Where a driver's libraries and descriptions lie if the system doesn't know them, as in containers.
DRIVER_FOLDERS = ["/usr/local/nvidia", "/usr/local/cuda/compat", "/usr/lib/wsl"]
VULKAN_DRIVERS = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/nvidia/share/vulkan/icd.d"]
LIBDEVICE = "nvvm/libdevice/libdevice.10.bc"


def parts(kit):
    """The pieces of the packed program, in order: the first lies in the kit's folder, the others beside it."""
    first = kit / "kit.tar.xz.0"
    if not first.exists():
        raise SystemExit(f"{first} is missing: scripts/gpu_kit/build.sh writes it")
    more = sorted(kit.parent.glob(f"{kit.name}_*/kit.tar.xz.*"), key=lambda path: int(path.suffix[1:]))
    numbers = [int(path.suffix[1:]) for path in more]
    if numbers != list(range(1, len(more) + 1)):
        raise SystemExit(f"pieces of the kit are missing: there are 0 and {numbers}")
    return [first, *more]


def unpack(kit, work):
    """Unpacks the program and those Python packages that the machine lacks. Gives the command that starts the program."""
    unpacked = work / "kit"
    if not unpacked.exists():
        partial = work / "kit.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        whole = partial.with_suffix(".tar.xz")
        with whole.open("wb") as joined:
            for part in parts(kit):
                joined.write(part.read_bytes())
        with tarfile.open(whole) as archive:
            archive.extractall(partial, filter="data")
        whole.unlink()
        partial.rename(unpacked)
    site = work / "site"
    for wheel in sorted((kit / "wheels").glob("*.whl")):
        package = wheel.name.split("-")[0]
        # diffusers' version matters, the others only have to be there.
        if package == "diffusers" or importlib.util.find_spec(package) is None:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
    if site.is_dir():
        sys.path.insert(0, str(site))
    libraries = [str(unpacked / "lib"), *library_folders()]
    return [unpacked / "lib/ld-linux-x86-64.so.2", "--library-path", ":".join(libraries), unpacked / "gpu_kit"]


def restore_kernels(file, work):
    """Compiled kernels, and which are fastest, of an earlier run on such a machine."""
    with tarfile.open(file) as archive:
        archive.extractall(work / "cache", filter="data")


def keep_kernels(work, file):
    """Packs them for a later run."""
    if (work / "cache").is_dir():
        partial = file.with_suffix(".partial")
        with tarfile.open(partial, "w:xz") as archive:
            archive.add(work / "cache", ".")
        partial.rename(file)


def library_folders():
    """Folders of the system's libraries, the driver's among them."""
    known = run("ldconfig", "-p") or run("/sbin/ldconfig", "-p") or ""
    folders = [str(Path(line.split("=> ")[1]).parent) for line in known.splitlines() if "=> " in line]
    driver = [f"{root}/{name}" for root in DRIVER_FOLDERS for name in ("lib64", "lib", "") if Path(root, name).is_dir()]
    return list(dict.fromkeys(folders + driver))


def environment(work):
    """That of programs: where CUDA and Vulkan are, and caches of this run's own, so that what is cold is cold."""
    caches = {"XDG_CACHE_HOME": str(work / "cache"), "TORCHINDUCTOR_CACHE_DIR": str(work / "inductor")}
    environment = os.environ | caches | {"HF_HUB_OFFLINE": "1"}
    environment.setdefault("XDG_RUNTIME_DIR", str(work))  # or Mesa complains
    site = work / "site"
    if site.is_dir():
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    if "CUDA_PATH" not in environment and (root := cuda_root(work)):
        environment["CUDA_PATH"] = str(root)
    if "VK_DRIVER_FILES" not in environment:
        found = [str(file) for folder in VULKAN_DRIVERS for file in sorted(Path(folder).glob("*nvidia*.json"))]
        if found:
            environment["VK_DRIVER_FILES"] = found[0]
    return environment


def cuda_root(work):
    """A folder with libdevice, which CUDA kernels are linked with: CUDA's own, or one around the file of another package."""
    nvcc = shutil.which("nvcc")
    roots = [Path(nvcc).resolve().parents[1]] if nvcc else []
    roots += [Path("/usr/local/cuda"), Path("/opt/cuda"), Path("/usr/lib/cuda"), Path("/usr")]
    for root in roots:
        if (root / LIBDEVICE).is_file():
            return root
    for name in ("nvidia", "triton"):
        spec = importlib.util.find_spec(name)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            for file in Path(folder).rglob("libdevice.10.bc"):
                target = work / "cuda" / LIBDEVICE
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)
                return work / "cuda"
    return None


def nvidia_smi(*options):
    """What the driver's program says, a list for each line; nothing if there is none."""
    program = shutil.which("nvidia-smi") or "/usr/local/nvidia/bin/nvidia-smi"
    told = run(program, *options) or ""
    return [[word.strip() for word in line.split(",")] for line in told.splitlines() if line.strip()]


def run(*command):
    """What a program prints; nothing if there is none or it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not there"


def facts():
    """What is said about the machine: pairs of what and which."""
    cards = nvidia_smi("--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
    cpus = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((line.split(":", 1)[1].strip() for line in cpus if line.startswith("model name")), platform.processor())
    yield "card, driver, memory", "; ".join(", ".join(card) for card in cards) or "no nvidia-smi"
    yield "processor", f"{cpu}, {os.cpu_count()} threads"
    yield "system", f"{platform.system()} {platform.release()}, {' '.join(platform.libc_ver())}"
    yield "Python", platform.python_version()
    for package in ("torch", "diffusers", "transformers"):
        yield package, version(package)
    for name in ("CUBECL_AUTOTUNE_LEVEL", "T2V_CPU_OPERATORS"):
        if name in os.environ:
            yield name, os.environ[name]


def process_memory(pid):
    """Bytes of a card that a process holds, its driver's share included; none where nobody tells."""
    for words in nvidia_smi("--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"):
        if len(words) == 2 and words[0] == str(pid) and words[1].isdigit():
            return int(words[1]) * 1024 * 1024
    return None
