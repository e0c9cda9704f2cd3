# Everything from a bare checkout with Python 3.11: `make demo`, `make test`.
# Interpreters are tried by running them: a shim on the PATH may exist and fail.
PYTHON ?= $(shell for p in python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-hosts lint tables bench figures gpu-check gpu-bench clean

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 was not found: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[test,train,farm]'
	@touch $@

demo: $(READY)
	$(BIN)/python samples/demo.py

# Two files at a time. Those that hold one time against another have the machine to themselves.
TIMED := tests/end_to_end/test_bench.py tests/server/test_cancel.py tests/structure/test_client_interpreters.py
test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile tests --ignore=tests/benchmarks $(addprefix --ignore=,$(TIMED))
	$(BIN)/python -m pytest $(TIMED)

# Host plugins are tested in the applications' own Pythons, which are made here: bpy wants a numpy of
# its own. Inside of each, the server under test runs in ours.
HOSTS := .hosts
BLENDERS := 4.2 4.5 5.0
test-hosts: $(READY)
	$(BIN)/python tests/hosts/environments.py
	test -d $(HOSTS)/vendor/zmq || $(HOSTS)/bpy-4.2/bin/python -m pip install --quiet --disable-pip-version-check \
		--target $(HOSTS)/vendor --requirement tests/hosts/requirements-vendor.txt
	$(BIN)/python -m host_plugins.bundle --fetch $(HOSTS)/wheels
	DVM_HOSTS=1 $(BIN)/python -m pytest tests/hosts
	for version in $(BLENDERS); do \
		DVM_TEST_PYTHON=$(abspath $(BIN))/python $(HOSTS)/bpy-$$version/bin/python -B \
			-m pytest tests/hosts/in_blender || exit 1; done

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The figures of the README, measured on ../shared/data/eval (still_baselines: or DATA=folder).
DATA ?= ../shared/data/eval
MATERIAL ?= ../shared/data/train
tables: $(READY)
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python tests/benchmarks/still_baselines.py --threads 1 --data $(DATA) --out tests/benchmarks/results/still_baselines.json
	$(BIN)/python tests/benchmarks/propagation.py --out tests/benchmarks/results/propagation.json
	OMP_WAIT_POLICY=PASSIVE $(BIN)/dvm-train evaluate --data $(DATA) --network st_fam_s --window 5 --window 1 --out evaluation/mattes
	OMP_WAIT_POLICY=PASSIVE $(BIN)/dvm-train evaluate --data footage:heldout --data synthetic:matting --material $(MATERIAL) \
		--network st_fam_s --window 5 --window 1 --every 6 --no-sheets --out evaluation/held_out
	OMP_WAIT_POLICY=PASSIVE $(BIN)/dvm-train evaluate --data $(DATA) --network trimap_memory_s --network st_fam_s --trimaps keyframes --carried-mattes \
		--items clip_dancer_A_pan_stream --items clip_dancer_B_video_bg --items cg_fur_linear --no-sheets --out evaluation/carried
	OMP_WAIT_POLICY=PASSIVE $(BIN)/dvm-train evaluate --data synthetic:propagation --material $(MATERIAL) \
		--network trimap_memory_s --trimaps keyframes --no-sheets --out evaluation/carried_synthetic
	for one in mattes held_out carried carried_synthetic; do \
		cp evaluation/$$one/evaluation.json tests/benchmarks/results/evaluation_$$one.json; done
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python tests/benchmarks/suggested_keyframes.py --out tests/benchmarks/results/suggested_keyframes.json

# What this machine does, and the README's figures of it; `make figures` alone measures nothing.
bench: $(READY)
	$(BIN)/dvm bench --json tests/benchmarks/results/bench.json
	$(MAKE) figures

figures: $(READY)
	$(BIN)/python tests/benchmarks/performance_table.py

# On a machine with a GPU, in its own Python: torch with CUDA, torchvision, numpy, scipy, opencv,
# safetensors and pytest are enough; nothing of ours is installed there.
GPU_PYTHON ?= python3
gpu-check:
	$(GPU_PYTHON) tests/gpu/check.py

gpu-bench:
	$(GPU_PYTHON) tests/benchmarks/gpu_bench.py --out tests/benchmarks/results/gpu_bench.json

clean:
	rm -rf $(VENV) .venv-client demo-output build dist *.egg-info
