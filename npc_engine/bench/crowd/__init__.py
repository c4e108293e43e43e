"""Many characters that speak at once: speed, fairness, parking, threads, an idle server.

Owns what is set up and measured. It knows no report's frame: that is `shared`. Begin with `parts`.
"""
