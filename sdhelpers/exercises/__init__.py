"""The exercises of the notebooks: one module for each, one `check_*` for each exercise."""
