"""Characters out of a save: read beside the loop, checked, and put onto the stage.

It knows no writing. Begin with `arrivals`.
"""
