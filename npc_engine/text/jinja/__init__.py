"""Chat templates of strangers, run with bounds on their work and sizes.

The only room that knows jinja2. It knows no conversation. Begin with `sandbox`.
"""
