"""A hand-written stand-in of Foundry Nuke's Python module, for tests: only names that Nuke has.

What is not here is not faked: it raises AttributeError, as a name that Nuke lacks does. The side of
the tests is ``control.py`` beside this package.
"""

# ruff: noqa: F401 every name is there for those who import the module
from nuke._callbacks import (
    addAfterFrameRender,
    addAfterRender,
    addBeforeFrameRender,
    addBeforeRender,
    addKnobChanged,
    addOnCreate,
    addOnDestroy,
    addOnScriptClose,
    addOnScriptLoad,
    addOnScriptSave,
    addOnUserCreate,
    addUpdateUI,
    removeAfterFrameRender,
    removeAfterRender,
    removeBeforeFrameRender,
    removeBeforeRender,
    removeKnobChanged,
    removeOnCreate,
    removeOnDestroy,
    removeOnScriptClose,
    removeOnScriptLoad,
    removeOnScriptSave,
    removeOnUserCreate,
    removeUpdateUI,
)
from nuke._execute import CancelledError, execute, executing, render
from nuke._interface import (
    GlobalsEnvironment,
    Menu,
    MenuItem,
    ProgressTask,
    Undo,
    ask,
    askWithCancel,
    debug,
    env,
    error,
    getFilename,
    getInput,
    menu,
    message,
    pluginAddPath,
    pluginAppendPath,
    pluginPath,
    tprint,
    warning,
)
from nuke._knobs import (
    FLAGS as _FLAGS,
)
from nuke._knobs import (
    TABBEGINCLOSEDGROUP,
    TABBEGINGROUP,
    TABENDGROUP,
    TABKNOB,
    AColor_Knob,
    Array_Knob,
    BBox_Knob,
    Boolean_Knob,
    Channel_Knob,
    ChannelMask_Knob,
    Color_Knob,
    Disable_Knob,
    Double_Knob,
    Enumeration_Knob,
    EvalString_Knob,
    File_Knob,
    Format_Knob,
    Int_Knob,
    Knob,
    Link_Knob,
    Multiline_Eval_String_Knob,
    MultiView_Knob,
    Obsolete_Knob,
    Pulldown_Knob,
    PyScript_Knob,
    PythonKnob,
    Script_Knob,
    String_Knob,
    Tab_Knob,
    Text_Knob,
    Unsigned_Knob,
    WH_Knob,
    XY_Knob,
    thisKnob,
)
from nuke._nodes import (
    EXPRESSIONS,
    HIDDEN_INPUTS,
    LINKINPUTS,
    Group,
    Node,
    Nodes,
    Root,
    allNodes,
    createNode,
    delete,
    exists,
    frame,
    nodes,
    root,
    selectedNode,
    selectedNodes,
    thisClass,
    thisGroup,
    thisNode,
    thisParent,
    toNode,
)
from nuke._nodes import (
    INPUTS_FLAG as INPUTS,
)
from nuke._script import (
    TO_SCRIPT,
    TO_VALUE,
    WRITE_ALL,
    WRITE_NON_DEFAULT_ONLY,
    WRITE_USER_KNOB_DEFS,
    addView,
    modified,
    nodeCopy,
    nodePaste,
    scriptClear,
    scriptName,
    scriptOpen,
    scriptReadFile,
    scriptReadText,
    scriptSave,
    scriptSaveAs,
)
from nuke._session import channels, layers, thisView, views
from nuke._session import start_session as _start
from nuke._threads import executeInMainThread, executeInMainThreadWithResult
from nuke._values import (
    Format,
    FrameRange,
    FrameRanges,
    Info,
    Layer,
    OutputContext,
    addFormat,
    formats,
)

DISABLED = _FLAGS["DISABLED"]
NO_ANIMATION = _FLAGS["NO_ANIMATION"]
DO_NOT_WRITE = _FLAGS["DO_NOT_WRITE"]
INVISIBLE = _FLAGS["INVISIBLE"]
STARTLINE = _FLAGS["STARTLINE"]
ENDLINE = _FLAGS["ENDLINE"]
KNOB_CHANGED_RECURSIVE = _FLAGS["KNOB_CHANGED_RECURSIVE"]
NO_MULTIVIEW = _FLAGS["NO_MULTIVIEW"]
NO_UNDO = _FLAGS["NO_UNDO"]
ALWAYS_SAVE = _FLAGS["ALWAYS_SAVE"]
READ_ONLY = _FLAGS["READ_ONLY"]
SAVE_MENU = _FLAGS["SAVE_MENU"]
NO_CHECKMARKS = _FLAGS["NO_CHECKMARKS"]
EXPAND_TO_WIDTH = _FLAGS["EXPAND_TO_WIDTH"]

_start()
