# make                   set up, run the three notebooks in the quick profile into build/quick/, build that PDF
# make test       set up, then all tests
# make full       the graded run, in place: all data, full budgets; then the PDF
# make pdf        the PDF from the results in writeup/ (or in another folder: make pdf OUTPUT=dir)
# make submission preflight, then submission/ with the PDF and the three notebooks
# make lab        JupyterLab
# make data MIRROR=dir   copy a mirror of the data sets into data/
# make clean      remove what was built

NOTEBOOKS := problem1_rnn problem2_attention problem3_gnn
BIN := .venv/bin
OUTPUT := writeup
TEX := $(wildcard writeup/*.tex writeup/sections/*.tex writeup/*.bib writeup/ai_tools/*/*)

# Two trainings at once, or a busy core, would stall OpenMP's spinning barriers.
export OMP_WAIT_POLICY := PASSIVE
export PYDEVD_DISABLE_FILE_VALIDATION := 1

.PHONY: quick test full pdf submission lab data clean setup latex
.DELETE_ON_ERROR:

quick: build/quick/writeup.pdf
	@echo "Quick profile done: build/quick/ holds three executed notebooks and writeup.pdf (not for submission)."

# Set-up ---------------------------------------------------------------------------------------------------------------

setup: .venv/installed

.venv/installed: requirements.txt
	@python=""; for candidate in python3.11 python3.12 python3 python; do \
	  $$candidate -c 'import sys; sys.exit(sys.version_info[:2] not in [(3, 11), (3, 12)])' 2>/dev/null \
	    && { python=$$candidate; break; }; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Python 3.11 or 3.12 is needed (torchtext has no build for others); found: $$(python3 --version 2>&1)." \
	       "Install one of them, for example with 'apt install python3.11-venv' or from python.org."; exit 1; \
	fi; \
	$$python -m venv .venv || { echo "Creating .venv failed: install the venv module ('apt install python3-venv')."; exit 1; }
	$(BIN)/pip install --disable-pip-version-check --quiet --retries 2 --timeout 10 -r requirements.txt || { \
	  echo "Installing requirements.txt failed (see above): check the network and the free disk space (about 6 GB), then run make again."; exit 1; }
	touch $@

# siunitx.sty stands for the whole list: it is in the last package of it.
latex:
	@if command -v latexmk >/dev/null && command -v pdftoppm >/dev/null && kpsewhich siunitx.sty cm-super-ts1.enc lmodern.sty >/dev/null; then exit 0; fi; \
	packages="latexmk texlive-latex-recommended texlive-latex-extra texlive-fonts-recommended texlive-pictures texlive-science lmodern cm-super poppler-utils"; \
	sudo=""; [ "$$(id -u)" = 0 ] || sudo="sudo -n"; \
	if command -v apt-get >/dev/null && { [ -z "$$sudo" ] || $$sudo true 2>/dev/null; }; then \
	  $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends $$packages >/dev/null; \
	else \
	  echo "The PDF needs LaTeX: install $$packages (or TeX Live with latexmk), then run make again."; exit 1; \
	fi

# The quick profile ----------------------------------------------------------------------------------------------------

build/quick/%.ipynb: %.ipynb | setup
	@mkdir -p $(@D)
	$(BIN)/papermill --no-progress-bar --log-level ERROR -p profile quick -p output_dir build/quick $< $@.partial.ipynb
	mv $@.partial.ipynb $@

build/quick/writeup.pdf: $(NOTEBOOKS:%=build/quick/%.ipynb) $(TEX) | latex
	$(call build_pdf,build/quick)

# The graded run -------------------------------------------------------------------------------------------------------

full: | setup latex
	for notebook in $(NOTEBOOKS); do \
	  $(BIN)/jupyter nbconvert --to notebook --execute --inplace --log-level ERROR \
	    --ExecutePreprocessor.record_timing=False $$notebook.ipynb || exit 1; \
	done
	$(MAKE) pdf

pdf: | setup latex
	$(call build_pdf,$(OUTPUT))
	@[ "$(OUTPUT)" != writeup ] || { $(BIN)/python writeup/readme_table.py \
	  && pdftoppm -r 110 -png -singlefile writeup/figures/p3_models.pdf writeup/figures/p3_models; }

# $(1): the folder that holds figures/ and results/, and receives writeup.pdf.
define build_pdf
	@mkdir -p build/latex/$(1)
	$(BIN)/python writeup/listings.py
	cd writeup && latexmk -pdf -silent -interaction=nonstopmode -halt-on-error -outdir=../build/latex/$(1) \
	  -usepretex='\def\outputdir{../$(1)}' writeup.tex >../build/latex/$(1)/latexmk.out 2>&1 \
	  || { tail -n 30 ../build/latex/$(1)/writeup.log; exit 1; }
	cp build/latex/$(1)/writeup.pdf $(1)/writeup.partial.pdf && mv $(1)/writeup.partial.pdf $(1)/writeup.pdf
endef

# The rest -------------------------------------------------------------------------------------------------------------

test: | setup latex
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest

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
