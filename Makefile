# Two commands matter: `make serve` and `make test`. Each makes the environment it needs.
# PYTHON=python3.12 chooses an interpreter; without it an environment keeps the one that it has.
PYTHON ?=
HOST ?= 127.0.0.1
PORT ?= 3000
MODEL_VERSION ?= 1.1.0

VENV ?= .venv
SERVE := $(VENV)/serve
DEV := $(VENV)/dev
# KServe's client, which the tests drive the service with, and MLServer want older packages than
# we do; the servers that `make bench` measures ours against are no part of development.
KSERVE := $(VENV)/kserve
# Ray, for --engine ray; more than serving itself, and no part of it.
RAY := $(VENV)/ray
PEERS := $(VENV)/peers
MLSERVER := $(VENV)/mlserver
# Debian's package, unpacked: installed, it would start a server.
PROMETHEUS := $(VENV)/prometheus
# Where there is an NVIDIA driver, serving gets the CUDA and cuDNN wheels too.
SERVE_LOCK := requirements/$(if $(shell command -v nvidia-smi),cuda,serve).lock

# No usage statistics leave the machine.
export BENTOML_DO_NOT_TRACK := True

# Whatever would have Python take modules from elsewhere, or pip put them there.
unexport CDPATH PYTHONHOME PYTHONPATH PYTHONSAFEPATH PIP_PREFIX PIP_PYTHON PIP_ROOT PIP_TARGET
export PIP_USER := 0
# Or each program that starts would compile ours anew, and each process that runs tests all tests.
unexport PYTHONDONTWRITEBYTECODE

# The Open Inference Protocol's published description, which the tests hold the service to where it
# can be had.
OPEN_INFERENCE := tests/service/open_inference_rest.yaml
OPEN_INFERENCE_URL := https://raw.githubusercontent.com/kserve/open-inference-protocol/18d5991e9e45d291f53103cc79e13ecc6212ffae/specification/protocol/open_inference_rest.yaml

APT_INSTALL := apt-get update --quiet && apt-get install --quiet --yes

.PHONY: serve dev notebook test smoke test-gpu train export release data lint lock proto bench bench-gpu soak hostile mutants dist bento container test-container clean

# exec: what ends make then ends the server, not a shell between them.
serve: $(SERVE)/.installed
	exec $(SERVE)/bin/python -m bentoml serve --host "$(HOST)" --port "$(PORT)"

# What development needs, for those who do not want to wait for the tests.
dev: data

# The lesson as a notebook, in JupyterLab, which refuses to run as root, as in a container, unless told.
notebook: data
	$(DEV)/bin/python -m jupyterlab --allow-root --ServerApp.root_dir=. notebooks/batch_norm.ipynb

test: lint data $(KSERVE)/.installed $(RAY)/.installed
	@test -f $(OPEN_INFERENCE) || curl --fail --silent --connect-timeout 10 --max-time 60 --output $(OPEN_INFERENCE) $(OPEN_INFERENCE_URL) || echo "The published description of the Open Inference Protocol cannot be fetched; its tests will skip."
	@command -v chromium >/dev/null || ($(APT_INSTALL) chromium) || true
	@command -v wrk >/dev/null || ($(APT_INSTALL) wrk) || true
	@command -v mogrify >/dev/null || ($(APT_INSTALL) imagemagick) || true
	@command -v kubectl >/dev/null || ($(APT_INSTALL) kubectl) || true
	@command -v openssl >/dev/null || ($(APT_INSTALL) openssl) || true
	@command -v promtool >/dev/null || test -x $(PROMETHEUS)/usr/bin/promtool || (apt-get update --quiet && mkdir -p $(PROMETHEUS) && cd $(PROMETHEUS) && apt-get download prometheus && dpkg --extract prometheus_*.deb .) || true
	$(DEV)/bin/python -m pytest -m "not serial" --numprocesses 3 --dist loadfile --no-loadscope-reorder
	$(DEV)/bin/python -m pytest -m serial $$(grep --recursive --files-with-matches --include='test_*.py' pytest.mark.serial tests)

# All three rooms in short, in environments of their own: make smoke PYTHON=python3.12
SMOKE := .venv/smoke
smoke:
	$(MAKE) VENV=$(SMOKE) $(SMOKE)/serve/.installed dev
	$(SMOKE)/dev/bin/python -m pytest tests/smoke.py

# What needs an NVIDIA GPU; elsewhere each of these skips, and says so.
test-gpu: data
	$(DEV)/bin/python -m pytest tests/gpu

# One thread, so that machines with any number of cores add in the same order. A run that was broken
# off goes on.
train: data
	$(DEV)/bin/python -m training --recipe release --seed 0 --threads 1 --out runs/release $(if $(wildcard runs/release/resume.pt),--resume,--overwrite)

export: $(DEV)/.installed
	$(DEV)/bin/python -m export runs/release/checkpoint.safetensors --out runs/release/model.onnx --model-version $(MODEL_VERSION)

# Train, fold, prove, draw, and put the result where the service looks for it.
release: train export
	$(DEV)/bin/python -m training report runs/release
	cd runs/release && cp checkpoint.safetensors model.onnx equivalence.json metrics.json *.png ../../models/fashion_lenet/

# Every figure as a ratio to a peer in the same run; on a machine that does nothing else.
bench: data $(SERVE)/.installed $(PEERS)/.installed $(MLSERVER)/.installed
	@command -v wrk >/dev/null || ($(APT_INSTALL) wrk)
	$(DEV)/bin/python -m benchmarks.folding_accuracy
	$(DEV)/bin/python -m benchmarks.training_speed
	$(DEV)/bin/python -m benchmarks.http.serving
	$(DEV)/bin/python -m benchmarks.http.growth
	$(DEV)/bin/python -m benchmarks.drift.watchman
	$(DEV)/bin/python -m benchmarks.offline

# What an NVIDIA GPU gives; elsewhere one line says why there is no table.
bench-gpu: $(DEV)/.installed $(SERVE)/.installed
	@command -v wrk >/dev/null || ($(APT_INSTALL) wrk) || true
	$(DEV)/bin/python -m benchmarks.http.gpu

# 20 minutes of good, bad and slow traffic, and what is left of the service afterwards.
soak: $(DEV)/.installed $(SERVE)/.installed
	$(DEV)/bin/python -m benchmarks.soak

# For an hour, or MINUTES, the files are searched for that cost their readers most.
MINUTES ?= 60
hostile: $(DEV)/.installed
	$(DEV)/bin/python -m tests.hostile.search --minutes $(MINUTES)

# Small mistakes are put into the modules that decide, one at a time: do the tests notice?
# make mutants MODULE=service/middleware/admission.py for one of them.
mutants: $(DEV)/.installed
	$(DEV)/bin/python -m tests.mutants $(MODULE)

# A wheel, which has the released model inside, and the sdist that makes it, in dist/.
dist: $(DEV)/.installed
	$(DEV)/bin/python -m uv build --out-dir dist

bento: $(SERVE)/.installed
	$(SERVE)/bin/python -m bentoml build

# Images of the Bento, fashion-lenet-bn:cpu and :cuda; `make container DEVICES=cpu` for one.
DEVICES ?= cpu cuda
container: $(SERVE)/.installed
	@docker version >/dev/null 2>&1 || command -v podman >/dev/null || command -v buildah >/dev/null || ($(APT_INSTALL) podman runc debootstrap)
	set -e; for device in $(DEVICES); do PYTHON="$(abspath $(SERVE))/bin/python" ENGINE=$(ENGINE) deploy/container/build.sh $$device; done

# Builds the image for the CPU with Podman, runs it, and asks it; DEVICES="cpu cuda" for both.
test-container: DEVICES = cpu
test-container: $(DEV)/.installed
	@(command -v podman && command -v runc && command -v podman-compose) >/dev/null || ($(APT_INSTALL) podman podman-compose runc debootstrap)
	$(MAKE) container DEVICES="$(DEVICES)" ENGINE=podman
	DEVICES="$(DEVICES)" $(DEV)/bin/python -m pytest tests/container

lint: $(DEV)/.installed
	$(DEV)/bin/python -m ruff format --check .
	$(DEV)/bin/python -m ruff check .
	$(DEV)/bin/python -m mypy
	$(DEV)/bin/python -m deptry .
	$(DEV)/bin/python $(DEV)/bin/lint-imports

# The full Fashion-MNIST: found; else Debian's package, where we may; else torchvision's download.
data: $(DEV)/.installed
	$(DEV)/bin/python -m training data --offline || ($(APT_INSTALL) dataset-fashion-mnist) || true
	$(DEV)/bin/python -m training data

# Exact versions for every Python and platform we support; the development lock decides them.
COMPILE_ANY := $(DEV)/bin/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header
COMPILE := $(COMPILE_ANY) pyproject.toml
lock: $(DEV)/.installed
	$(COMPILE) --upgrade --extra train --extra dev -o requirements/dev.lock
	$(COMPILE) -c requirements/dev.lock -o requirements/serve.lock
	$(COMPILE) -c requirements/serve.lock --extra cuda -o requirements/cuda.lock
	$(COMPILE) -c requirements/serve.lock --extra ray -o requirements/ray.lock
	echo kserve | $(COMPILE_ANY) --upgrade - -o requirements/kserve.lock
	printf '%s\n' fastapi httptools litserve numpy onnxruntime-gpu orjson pillow python-multipart uvicorn uvloop | $(COMPILE_ANY) --upgrade - -o requirements/peers.lock
	printf '%s\n' mlserver numpy onnxruntime-gpu pillow | $(COMPILE_ANY) --upgrade - -o requirements/mlserver.lock

# The Open Inference Protocol's messages, from their description; a test holds them up to date. They get
# a pool of their own: a client's messages in the same process, as Triton's, have the same names.
PROTO := service/grpc/open_inference
OUT ?= .
proto: $(DEV)/.installed
	$(DEV)/bin/python -m grpc_tools.protoc --proto_path=. --python_out="$(OUT)" --pyi_out="$(OUT)" $(PROTO).proto
	sed -i 's/_descriptor_pool\.Default()/_descriptor_pool.DescriptorPool()/' "$(OUT)/$(PROTO)_pb2.py"

clean:
	rm -rf .venv build dist

$(SERVE)/.installed: LOCK = $(SERVE_LOCK)
$(DEV)/.installed: LOCK = requirements/dev.lock
$(KSERVE)/.installed: LOCK = requirements/kserve.lock
$(RAY)/.installed: LOCK = requirements/ray.lock
$(PEERS)/.installed: LOCK = requirements/peers.lock
$(MLSERVER)/.installed: LOCK = requirements/mlserver.lock
# Always asked, for whether an environment still fits its lock, its Python and its folder.
$(SERVE)/.installed $(DEV)/.installed $(KSERVE)/.installed $(RAY)/.installed $(PEERS)/.installed $(MLSERVER)/.installed: FORCE
	@requirements/environment.sh $(@D) $(LOCK) '$(PYTHON)'
FORCE:
