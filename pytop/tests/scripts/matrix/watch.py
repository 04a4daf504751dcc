"""Functions that the interpreter calls about other calls, for debuggers, profilers and coverage."""
import sys
import threading

from expected import TICKS, Ticks, expect


def tracer(frame, event, arg):
    TRACER.tick()
    return tracer


def tracer_of_opcodes(frame, event, arg):
    OPCODES.tick()
    frame.f_trace_opcodes = True
    return tracer_of_opcodes


def profiler(frame, event, arg):
    PROFILER.tick()


def on_event(*arguments):
    MONITOR.tick()


def on_event_once(*arguments):
    ONCE.tick()
    return sys.monitoring.DISABLE


TRACER, OPCODES, PROFILER, MONITOR, ONCE = map(
    Ticks, (tracer, tracer_of_opcodes, profiler, on_event, on_event_once)
)
TICKS.extend([TRACER, OPCODES, PROFILER, MONITOR, ONCE])

# What is watched by now, if anything is.
WATCHED = [None]


def monitor(tool, callback, *events):
    expect(monitor)
    monitoring = sys.monitoring
    monitoring.use_tool_id(tool, "matrix")
    chosen = 0
    for event in events:
        monitoring.register_callback(tool, getattr(monitoring.events, event), callback)
        chosen |= getattr(monitoring.events, event)
    monitoring.set_events(tool, chosen)


def watch(how):
    """Has all calls watched from here on, or no longer, and returns how they were watched before."""
    expect(watch)
    before, WATCHED[0] = WATCHED[0], how
    if before == "settrace" or before == "opcodes":
        threading.settrace(None)
        sys.settrace(None)
    elif before == "setprofile":
        threading.setprofile(None)
        sys.setprofile(None)
    elif before in ("monitoring", "instructions"):
        for tool in (1, 4):
            if sys.monitoring.get_tool(tool):
                sys.monitoring.set_events(tool, 0)
                for event in (
                    "PY_START PY_RESUME PY_YIELD PY_RETURN PY_THROW CALL LINE INSTRUCTION"
                ).split():
                    number = getattr(sys.monitoring.events, event)
                    sys.monitoring.register_callback(tool, number, None)
                sys.monitoring.free_tool_id(tool)
    if how == "settrace":
        threading.settrace(tracer)
        sys.settrace(tracer)
    elif how == "opcodes":
        threading.settrace(tracer_of_opcodes)
        sys.settrace(tracer_of_opcodes)
    elif how == "setprofile":
        threading.setprofile(profiler)
        sys.setprofile(profiler)
    elif how == "monitoring":
        monitor(1, on_event, "PY_START", "PY_RESUME", "PY_YIELD", "PY_RETURN", "CALL")
        monitor(4, on_event_once, "PY_START", "PY_RESUME", "LINE")
    elif how == "instructions":
        monitor(1, on_event, "PY_RESUME", "INSTRUCTION")
    return before


expect(sys._getframe().f_code)
