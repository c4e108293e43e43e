"""Words: chat templates as tokens, and sampled bytes as clean lines and gestures.

It knows no model beyond a vocabulary, and no cache. Begin with `chat_format` and `detokenizer`,
which also finds the stop strings that end a reply.
"""
