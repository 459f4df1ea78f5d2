"""``asyncio`` and ``contextvars``."""

from __future__ import annotations

from .worlds import Program

FILES = {"late.py": "class Thing: pass\nvalue = 6", "shop/__init__.py": "", "shop/a.py": "x = 1"}


def test_imports_in_tasks(program: Program) -> None:
    assert program(
        FILES,
        """
        import asyncio
        async def one():
            await asyncio.sleep(0)
            import late
            return late.value
        async def main():
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one()) for _ in range(3)]
            return [task.result() for task in tasks]
        result = asyncio.run(main())
        """,
    ) == [6, 6, 6]


def test_callbacks_without_a_frame_of_the_program(program: Program) -> None:
    assert program(
        FILES,
        """
        import asyncio, functools, pickle
        async def main():
            loop = asyncio.get_running_loop()
            done = loop.create_future()
            blob = b"clate\\nThing\\n."
            def load(blob, f): f.set_result(pickle.loads(blob))
            loop.call_soon(functools.partial(load, blob, done))
            found = [(await done).__name__]
            found.append((await loop.run_in_executor(None, pickle.loads, blob)).__name__)
            found.append((await asyncio.to_thread(pickle._loads, blob)).__name__)
            found.append(await asyncio.to_thread(__import__("os").path.expanduser, "~"))
            return found
        result = asyncio.run(main())
        """,
    ) == ["Thing", "Thing", "Thing", "/home/nobody"]


def test_a_loop_in_a_thread(program: Program) -> None:
    assert (
        program(
            FILES,
            """
        import asyncio, threading
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        async def work():
            from shop import a
            return a.x
        result = asyncio.run_coroutine_threadsafe(work(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        """,
        )
        == 1
    )


def test_contextvars(program: Program) -> None:
    assert program(
        {"state.py": "import contextvars\nuser = contextvars.ContextVar('user', default='nobody')"},
        """
        import asyncio, contextvars, threading
        from state import user
        async def visit(name):
            user.set(name)
            await asyncio.sleep(0)
            return user.get(), await asyncio.to_thread(user.get)
        async def main():
            return await asyncio.gather(visit("a"), visit("b"))
        result = [asyncio.run(main()), user.get()]
        context = contextvars.copy_context()
        context.run(user.set, "c")
        result += [context[user], user.get()]
        """,
    ) == [[["a", "a"], ["b", "b"]], "nobody", "c", "nobody"]


def test_children(program: Program) -> None:
    assert program(
        {},
        """
        import asyncio
        async def main():
            process = await asyncio.create_subprocess_exec(
                "/bin/sh", "-c", "echo $COLOUR $HOME", stdout=asyncio.subprocess.PIPE
            )
            out, _ = await process.communicate()
            shell = await asyncio.create_subprocess_shell(
                "echo $COLOUR", stdout=asyncio.subprocess.PIPE
            )
            return [out.decode().split(), (await shell.communicate())[0].decode().strip()]
        result = asyncio.run(main())
        """,
        environ={"COLOUR": "red"},
    ) == [["red", "/home/nobody"], "red"]
