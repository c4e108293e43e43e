"""What all measurements are made of: reports, plots, progress, and scripts of what is said.

It knows no measurement by name. Begin with `report`.
"""
