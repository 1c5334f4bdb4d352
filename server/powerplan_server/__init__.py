"""The planning service of powerplan: an asyncio gRPC server around the engine.

Every calculation runs in a worker process that can be killed at any moment (:mod:`powerplan_server.workers`); the
server process itself only admits, queues, stores and answers, so it never blocks and never imports torch or cvxpy.
"""
