"""llama.cpp through its C API: contexts, models, samplers, vocabularies, and their self-test.

But for two measurements the only room that knows ctypes and llama_cpp. It knows no characters.
Begin with `context`.
"""
