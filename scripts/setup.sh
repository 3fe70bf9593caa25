# Set-up shared by scripts/test and scripts/prove: sourced, not run. What is there already is used.

cache=${PROOFLOAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/proofload}
mkdir -p "$cache"

say() { printf '\n== %s\n' "$*"; }

# A tool that is missing is installed; one that will not install fails the run, it is never skipped.
need_apt() {
  local missing=() package
  for package in "$@"; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  ((${#missing[@]} == 0)) && return
  say "installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# A cargo subcommand of this version, in the cache; puts it on the path. Further arguments are cargo install's.
cargo_tool() {
  local name=$1 version=$2 root
  root=$cache/$name-$version
  if [[ ! -x $root/bin/$name ]]; then
    say "installing $name $version"
    # Unoptimised: it runs for a second, it would build for minutes.
    CARGO_TARGET_DIR=$cache/$name-build cargo install --quiet --locked --debug --root "$root" "${@:3}" "$name@$version"
    rm -rf "$cache/$name-build"
  fi
  PATH=$root/bin:$PATH
}

# The clients of scripts/conformance/requirements.txt, in an environment named after that file's content; sets $python.
python_environment() {
  local wanted=scripts/conformance/requirements.txt venv
  venv=$cache/venv-$(sha256sum "$wanted" | cut -c1-16)
  if [[ ! -e $venv/complete ]]; then
    python3 -c 'import ensurepip' 2>/dev/null || need_apt python3-venv
    say "installing the clients of $wanted"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$wanted"
    touch "$venv/complete"
  fi
  python=$venv/bin/python
}

# A virtual environment of Debian's Python, for wheels that are built for no other; sets $environment to its folder.
# Arguments: a name, then what pip installs.
debian_environment() {
  environment=$cache/$1-$(sha256sum <<<"${*:2}" | cut -c1-16)
  [[ -e $environment/complete ]] && return
  need_apt python3-venv
  say "installing ${*:2}"
  rm -rf "$environment"
  /usr/bin/python3 -m venv "$environment"
  "$environment/bin/pip" install --quiet --disable-pip-version-check "${@:2}"
  touch "$environment/complete"
}

# A real Triton: its server comes with PyTriton. Sets TRITON_PYTHON to the interpreter that has it.
triton_environment() {
  local environment
  debian_environment triton nvidia-pytriton==0.7.0
  export TRITON_PYTHON=$environment/bin/python
}

# NVIDIA's client, which comes with an old tritonclient: newer ones need a newer C library, and the package of that name
# is empty. Sets PERF_ANALYZER to it and PERF_ANALYZER_LIBRARIES to where its libraries are.
perf_analyzer_environment() {
  local environment
  need_apt libb64-0d
  debian_environment perf-analyzer 'tritonclient[http,grpc]==2.50.0' nvidia-cuda-runtime-cu12==12.9.79
  export PERF_ANALYZER=$environment/bin/perf_analyzer
  PERF_ANALYZER_LIBRARIES=$(echo "$environment"/lib/python3*/site-packages/nvidia/cuda_runtime/lib)
  export PERF_ANALYZER_LIBRARIES
}

# What tries requests that the document of the REST part allows, and others. Sets SCHEMATHESIS to it.
schemathesis_environment() {
  local environment
  debian_environment schemathesis schemathesis==4.32.5
  export SCHEMATHESIS=$environment/bin/schemathesis
}

# NVIDIA's client of text generators. Sets AIPERF to it.
aiperf_environment() {
  local environment
  debian_environment aiperf aiperf==0.13.0 transformers
  export AIPERF=$environment/bin/aiperf
}

# JAX, to train the relief network with. Sets RELIEF_PYTHON to the interpreter that has it.
relief_environment() {
  local wanted=daemon/models/relief/train/requirements.txt venv
  venv=$cache/relief-$(sha256sum "$wanted" | cut -c1-16)
  if [[ ! -e $venv/complete ]]; then
    say "installing what $wanted asks for"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$wanted"
    touch "$venv/complete"
  fi
  export RELIEF_PYTHON=$venv/bin/python
}

# scikit-learn, whose isolation forest ours is compared with. Sets FOREST_PYTHON to the interpreter that has it.
forest_environment() {
  local venv=$cache/forest-numpy-2.4.6-scikit-learn-1.9.1
  if [[ ! -e $venv/complete ]]; then
    say "installing scikit-learn"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 scikit-learn==1.9.1
    touch "$venv/complete"
  fi
  export FOREST_PYTHON=$venv/bin/python
}

# A browser, what drives it, and what judges pages in it. Sets MODULES to the folder that has them.
page_environment() {
  local wanted=(axe-core@4.14.1 playwright-core@1.65.1)
  need_apt chromium
  command -v npm >/dev/null || need_apt nodejs npm
  export MODULES=$cache/pages-$(sha256sum <<<"${wanted[*]}" | cut -c1-16)
  if [[ ! -e $MODULES/complete ]]; then
    say "installing ${wanted[*]}"
    rm -rf "$MODULES"
    mkdir -p "$MODULES"
    npm install --no-audit --no-fund --silent --ignore-scripts --prefix "$MODULES" "${wanted[@]}"
    touch "$MODULES/complete"
  fi
}

# DuckDB, which computes the same percentiles. Sets DUCKDB_PYTHON to the interpreter that has it.
duckdb_environment() {
  local venv=$cache/duckdb-2.0.0-numpy-2.4.6
  if [[ ! -e $venv/complete ]]; then
    say "installing DuckDB"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.0 numpy==2.4.6
    touch "$venv/complete"
  fi
  export DUCKDB_PYTHON=$venv/bin/python
}

# NVIDIA's run-time compiler, which needs no GPU. Sets NVRTC_LIBRARIES to where its libraries are.
nvrtc_environment() {
  local environment
  debian_environment nvrtc nvidia-cuda-nvrtc==13.0.88
  NVRTC_LIBRARIES=$(echo "$environment"/lib/python3*/site-packages/nvidia/cu13/lib)
  export NVRTC_LIBRARIES
}
