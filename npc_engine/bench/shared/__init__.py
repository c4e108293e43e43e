"""What all measurements are made of: flags, the run of their parts, figures, reports and plots.

It knows no measurement by name. Begin with `run`.
"""
