# `make demo` and `make test` set up .venv themselves; everything they write lies in .venv/ and build/ (both ignored).

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
FILMS := sample_media

.PHONY: demo test lint docs pictures films speech sounds mini bench stress clean

demo: .venv/ready ## caption the sample films with the embedded model and show one caption file
	$(BIN)/wat caption $(FILMS) --model mini --output-dir build/demo
	@echo; echo "build/demo/market.vtt:"; echo; cat build/demo/market.vtt

test: .venv/ready-test build/node/node_modules build/browser/node_modules ## every test, a process a core, then the line that pytest closes with
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

lint: .venv/ready-test ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: .venv/ready ## write the command reference (docs/commands.md) anew from the command line
	$(BIN)/python -m docs.reference

pictures: .venv/ready-pictures build/browser/node_modules ## take the README's pictures and samples anew from real runs
	$(BIN)/python -m docs.screenshots

films: .venv/ready-training ## render sample_media again (needs ffmpeg, flite, espeak-ng, festival, fluidsynth)
	$(BIN)/python -m sample_media.make_films

# How much of everything. make mini TRY=1 goes through the whole chain in minutes, on little and into build/mini/out.
ifdef TRY
UTTERANCES ?= 140
JUDGED ?= 14
EFFECTS ?= 2
PIECES ?= 4
JUDGED_EFFECTS ?= 1
JUDGED_PIECES ?= 2
STEPS ?= 20
WINDOWS ?= 16
MINI ?= build/mini/out
endif
UTTERANCES ?= 45000
JUDGED ?= 700
EFFECTS ?= 600
PIECES ?= 2000
JUDGED_EFFECTS ?= 20
JUDGED_PIECES ?= 60
WINDOWS ?= 30000
MINI ?= wat_cli/data
VOICES := $(BIN)/python -m training.voices
SOUNDS := $(BIN)/python -m training.sounds build/sounds
ASR := $(BIN)/python -m training.asr

speech: .venv/ready-training ## everything the embedded model hears said, in training and when judged
	$(VOICES) $(UTTERANCES) build/speech/grammar 1000000
	$(VOICES) $(UTTERANCES) build/speech/loose 2000000 --text loose
	$(VOICES) $(JUDGED) build/speech/dev-grammar 900000000
	$(VOICES) $(JUDGED) build/speech/dev-loose 910000000 --text loose
	$(VOICES) $(JUDGED) build/speech/held-out 920000000 --voices held-out
	$(VOICES) 210 build/speech/ordinary 930000000 --text ordinary

sounds: .venv/ready-training ## everything else it hears; ESC10=FOLDER adds ESC-10's clips
	$(SOUNDS) --split train --variants $(EFFECTS) --pieces $(PIECES) $(if $(ESC10),--esc10 $(ESC10))
	$(SOUNDS) --split tune --variants $(JUDGED_EFFECTS) --pieces $(JUDGED_PIECES)
	$(SOUNDS) --split judge --variants $(JUDGED_EFFECTS) --pieces $(JUDGED_PIECES) $(if $(ESC10),--esc10 $(ESC10))

POOLS := --speech build/speech --sounds build/sounds
mini: speech sounds ## train the embedded model anew and put it into wat_cli/data (hours: see training/README.md)
	mkdir -p build/mini
	$(ASR) ctc --speech build/speech --out build/mini/ctc.pt $(if $(STEPS),--steps $(STEPS))
	$(ASR) short --speech build/speech --init build/mini/ctc.pt --out build/mini/short.pt $(if $(STEPS),--steps $(STEPS))
	$(ASR) full $(POOLS) --init build/mini/short.pt --out build/mini/full.pt $(if $(STEPS),--steps $(STEPS))
	$(ASR) polish $(POOLS) --init build/mini/full.pt --out build/mini/polish.pt $(if $(STEPS),--steps $(STEPS))
	$(BIN)/python -m training.head $(POOLS) --model build/mini/polish.pt --out build/mini/windows --windows $(WINDOWS)
	$(BIN)/wat train build/mini/windows.jsonl --features build/mini/windows.npy --labels audioset --recipe captions --mixup 0.5 --epochs 14 \
		--batch 256 --model build/mini/polish.pt --output-dir build/mini/head --restart $(if $(STEPS),--epochs 1)
	mkdir -p $(MINI)
	$(BIN)/python -m training.ship build/mini/polish.pt --head build/mini/head/head.pt --out $(MINI)

bench: .venv/ready build/bench/ready ## run wat and its peers on the same work, and write benchmarks/RESULTS.md; BENCH=--quick: five minutes, BENCH="--device cuda": on a GPU
	$(BIN)/python -m benchmarks $(BENCH)

STRESS := kills mutants concurrent ten-hours dask soak
.PHONY: $(addprefix stress-,$(STRESS))
stress: $(addprefix stress-,$(STRESS)) ## prove that a night loses nothing: long; what it showed goes into stress/RESULTS.md

$(addprefix stress-,$(STRESS)): stress-%: .venv/ready-test ## one of these proofs
	$(BIN)/python -m stress $*

.PHONY: figures
# The Whisper-AT paper's figures: make figures ESC10=FOLDER MODELS=mini,build/mini/full.pt
MODELS ?= mini
FIGURES ?= docs/pictures/training
figures: .venv/ready-figures build/figures/speech.csv ## the paper's figures and tables, measured on mini and ESC10=FOLDER
	$(BIN)/wat figures layers $(ESC10) --model $(MODELS) --output-dir $(FIGURES)
	$(BIN)/wat figures widths $(ESC10) --model mini --output-dir $(FIGURES)
	$(BIN)/wat figures noise $(ESC10) --speech build/figures/speech.csv --utterances 10 --model $(MODELS) --output-dir $(FIGURES)
	$(BIN)/wat train $(ESC10) --cross-validate --recipe esc50 --model mini | tee build/figures/heads.md

build/figures/speech.csv: | .venv/ready-training
	test -e build/speech/dev-grammar.npy || $(BIN)/python -m training.voices 700 build/speech/dev-grammar 900000000
	$(BIN)/python -m training.spoken build/speech/dev-grammar build/figures --count 10

clean:
	rm -rf build .venv

# torch comes first and alone, so that its pinned build is settled before anything else asks for it.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) torch
	$(PIP) --editable .
	touch $@

# whisper-at pins an old numba; its model code, which is what the tests compare with, needs none of its dependencies.
.venv/ready-test: .venv/ready
	$(PIP) --editable '.[test]'
	$(PIP) --no-deps whisper-at==0.5
	touch $@

.venv/ready-pictures: .venv/ready
	$(PIP) --editable '.[pictures]'
	touch $@

.venv/ready-figures: .venv/ready
	$(PIP) --editable '.[train]'
	touch $@

.venv/ready-training: .venv/ready
	$(PIP) --editable '.[training]'
	touch $@

# What wat is compared with, in an environment of its own; torch is the same version as wat's.
build/bench/ready: constraints.txt
	$(PYTHON) -m venv build/bench/venv
	build/bench/venv/bin/python -m pip install --quiet --constraint constraints.txt torch
	build/bench/venv/bin/python -m pip install --quiet --constraint constraints.txt \
		openai-whisper faster-whisper==1.2.1 ctranslate2==4.8.5 transformers==5.23.0
	build/bench/venv/bin/python -m pip install --quiet --no-deps whisper-at==0.5
	touch $@

# The W3C's WebVTT parser judges the caption files; where there is no npm its tests are skipped and say so.
build/node/node_modules:
	mkdir -p $(@D)
	-command -v npm >/dev/null && npm install --silent --no-save --prefix $(@D) webvtt-parser@2.2.0

# What drives Chromium through the review page, at the versions of the lock file; without npm its tests are skipped too.
build/browser/node_modules: tests/browser/package.json tests/browser/package-lock.json
	mkdir -p $(@D) && cp $^ $(@D)
	-command -v npm >/dev/null && npm ci --silent --prefix $(@D) && touch $@
