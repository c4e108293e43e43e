"""StreamingLLM's question, asked of any GGUF: which policy of the window keeps a model sane.

Works on llama.cpp directly; it knows no characters. Begin with `policies`.
"""
