# make            set up, run the notebooks in the quick profile into build/quick/, build that PDF
# make setup      .venv from requirements.lock, made anew where it no longer fits
# make lock       requirements.lock anew, from requirements.txt
# make test       set up, then all tests (or some: make test TESTS=tests/test_data.py)
# make full       the graded run, in place: all data, full budgets; then the PDF
# make pdf        the PDF from the results in writeup/ (or in another folder: make pdf OUTPUT=dir)
# make submission preflight, then submission/ with the PDF and the three notebooks
# make lab        JupyterLab
# make data MIRROR=dir   copy a mirror of the data sets into data/
# make clean      remove what was built, kept trainings too

NOTEBOOKS := problem1_rnn problem2_attention problem3_gnn
BIN := .venv/bin
OUTPUT := writeup
TEX := $(wildcard writeup/*.tex writeup/student.toml writeup/sections/*.tex writeup/*.bib \
  writeup/ai_tools/problem?)

# Two trainings at once, or a busy core, would stall OpenMP's spinning barriers.
export OMP_WAIT_POLICY := PASSIVE
export PYDEVD_DISABLE_FILE_VALIDATION := 1

# Before what may be silent for long: while this shell lives, a line every 15 seconds.
HEARTBEAT = while sleep 15 >/dev/null 2>&1 && kill -0 $$$$ 2>/dev/null; do \
	    echo "  still at work, $$(date +%T)"; done & trap "kill $$! 2>/dev/null" EXIT;

.PHONY: quick test full pdf submission lab data clean setup lock latex
.DELETE_ON_ERROR:

quick: build/quick/writeup.pdf
	@echo "Quick profile done (not for submission). Made in build/quick/: writeup.pdf," \
	  "$(NOTEBOOKS:%=%.ipynb), their figures/ and results/."

# Set-up ---------------------------------------------------------------------------------------------------------------

# .venv/installed says for which Python, folder and lock .venv was made.
setup:
	@made_for() { $(BIN)/python --version; pwd -P; cksum <requirements.lock; } 2>/dev/null; \
	if [ -d .venv ]; then \
	  [ "$$(made_for)" != "$$(cat .venv/installed 2>/dev/null)" ] || exit 0; \
	  echo ".venv is of another folder, Python or lock, or unfinished: it is made anew."; \
	fi; \
	for python in python3.11 python3.12 python3 python ""; do \
	  [ -z "$$python" ] || $$python -c \
	    'import sys; sys.exit(sys.version_info[:2] not in [(3, 11), (3, 12)])' 2>/dev/null && break; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Python 3.11 or 3.12 is needed (torchtext has no build for others); found:" \
	       "$$(python3 --version 2>&1). Install one of them, for example with" \
	       "'apt install python3.11-venv' or from python.org."; exit 1; \
	fi; \
	[ ! -L .venv ] || rm .venv; \
	$$python -m venv --clear .venv || { \
	  echo "Creating .venv failed: install the venv module ('apt install python3-venv')."; exit 1; }; \
	echo "Installing requirements.lock into .venv: on Linux 3.3 GB to download, 6 GB on the disk."; \
	[ -t 2 ] || { $(HEARTBEAT) }; \
	sed -n '/^uv==/,/[^\]$$/p' requirements.lock | $(BIN)/python -m pip install \
	  --disable-pip-version-check --retries 2 --timeout 10 --require-hashes -r /dev/stdin \
	  && $(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements.lock || { \
	  echo "Installing failed (see above): check the network and the free disk space (about 7 GB)," \
	       "then run make again."; exit 1; }; \
	made_for >.venv/installed

# The hashes of all that requirements.txt needs, for each platform that pyproject.toml names.
lock: | setup
	$(BIN)/uv pip compile requirements.txt --universal --python-version 3.11 --generate-hashes \
	  --custom-compile-command 'make lock' -o requirements.lock --quiet

# siunitx.sty stands for the whole list: it is in the last package of it. Its version is what an
# older LaTeX fails at.
latex:
	@if command -v latexmk >/dev/null && command -v pdftoppm >/dev/null \
	  && kpsewhich siunitx.sty cm-super-ts1.enc lmodern.sty >/dev/null; then \
	  siunitx=$$(sed -n 's/.*{siunitx} *{[^}]*} *{\([^}]*\)}.*/\1/p' "$$(kpsewhich siunitx.sty)"); \
	  case $$siunitx in [012].*) \
	    echo "This LaTeX is too old: its siunitx is $$siunitx, 3.0 is needed, which TeX Live has since" \
	         "May 2021 (Ubuntu since 22.04, Debian since 12). Install a newer TeX Live" \
	         "(tug.org/texlive), then run make again."; exit 1;; \
	  esac; exit 0; \
	fi; \
	packages="latexmk texlive-latex-recommended texlive-latex-extra texlive-fonts-recommended \
	  texlive-pictures texlive-science lmodern cm-super poppler-utils"; \
	sudo=""; [ "$$(id -u)" = 0 ] || sudo="sudo -n"; \
	if command -v apt-get >/dev/null && { [ -z "$$sudo" ] || $$sudo true 2>/dev/null; }; then \
	  echo "Installing LaTeX through apt:" $$packages; $(HEARTBEAT) \
	  $$sudo apt-get update -q && $$sudo env DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -q --no-install-recommends $$packages; \
	else \
	  echo "The PDF needs LaTeX: install" $$packages "(or TeX Live with latexmk)," \
	       "then run make again."; exit 1; \
	fi

# The quick profile ----------------------------------------------------------------------------------------------------

build/quick/%.ipynb: %.ipynb | setup
	@mkdir -p $(@D)
	@echo "Running $< in the quick profile, into $@:"
	@$(HEARTBEAT) $(BIN)/papermill --progress-bar --log-level ERROR -p profile quick \
	  -p output_dir build/quick $< $@.partial.ipynb
	@mv $@.partial.ipynb $@

build/quick/writeup.pdf: $(NOTEBOOKS:%=build/quick/%.ipynb) $(TEX) | latex
	$(call build_pdf,build/quick)

# The graded run -------------------------------------------------------------------------------------------------------

full: | setup latex
	for notebook in $(NOTEBOOKS); do \
	  $(BIN)/jupyter nbconvert --to notebook --execute --inplace --log-level ERROR \
	    --ExecutePreprocessor.record_timing=False $$notebook.ipynb \
	  && $(BIN)/jupyter nbconvert --to notebook --inplace --log-level ERROR --coalesce-streams \
	    $$notebook.ipynb || exit 1; \
	done
	$(MAKE) pdf

pdf: | setup latex
	$(call build_pdf,$(OUTPUT))
	@[ "$(OUTPUT)" != writeup ] || { $(BIN)/python writeup/readme_table.py \
	  && pdftoppm -r 110 -png -singlefile writeup/figures/p3_models.pdf writeup/figures/p3_models; }

# $(1): the folder that holds figures/ and results/, and receives writeup.pdf.
define build_pdf
	@mkdir -p build/latex/$(1)
	@$(BIN)/python writeup/listings.py
	@$(BIN)/python writeup/macros.py $(1)/results
	@$(BIN)/python writeup/student.py build/latex/$(1)
	@echo "Building $(1)/writeup.pdf"
	@$(HEARTBEAT) cd writeup && latexmk -pdf -silent -interaction=nonstopmode -halt-on-error \
	  -outdir=../build/latex/$(1) \
	  -usepretex='\def\outputdir{../$(1)}\def\builddir{../build/latex/$(1)}' writeup.tex \
	  >../build/latex/$(1)/latexmk.out 2>&1 \
	  || { tail -n 30 ../build/latex/$(1)/writeup.log; exit 1; }
	@cp build/latex/$(1)/writeup.pdf $(1)/writeup.partial.pdf
	@mv $(1)/writeup.partial.pdf $(1)/writeup.pdf
endef

# The rest -------------------------------------------------------------------------------------------------------------

test: | setup latex
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest $(TESTS)

submission: | setup
	$(BIN)/python writeup/submission.py

lab: | setup
	$(BIN)/jupyter lab

data:
	@[ -d "$(MIRROR)" ] || { echo "Say where the mirror is: make data MIRROR=dir (data/README.md lists the files)."; exit 1; }
	@for folder in sentiment140 mnist eng_fra wikipedia_network; do \
	  if [ -d "$(MIRROR)/$$folder" ]; then mkdir -p data/$$folder && cp -R "$(MIRROR)/$$folder/." data/$$folder/ \
	    && chmod -R u+w data/$$folder && echo "data/$$folder"; \
	  else echo "$(MIRROR)/$$folder is missing: left as it is"; fi; done

clean:
	rm -rf build submission
