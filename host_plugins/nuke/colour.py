"""From Nuke's names of colourspaces to the server's."""

from __future__ import annotations

import re

_DEFAULT = re.compile(r"default \((.+)\)\Z")
# Nuke's own curves (colour management "Nuke"), where they have other names than in OCIO configs.
# Alpha is the same in any primaries, so that a curve is met by the space that has it.
_CURVES = {
    "linear": "lin_rec709_scene",
    "sRGB": "srgb_rec709_scene",
    "rec709": "Camera Rec.709",
    "Gamma1.8": "Gamma 1.8 Encoded Rec.709",
    "Gamma2.2": "Gamma 2.2 Encoded Rec.709",
    "Gamma2.4": "Gamma 2.4 Encoded Rec.709",
    "AlexaV3LogC": "ARRI LogC3 (EI800)",
    "ARRILogC4": "ARRI LogC4",
    "SLog3": "S-Log3 S-Gamut3",
    "Log3G10": "Log3G10 REDWideGamutRGB",
    "Blackmagic Film Generation 5": "BMDFilm WideGamut Gen5",
}


def plain_name(shown: str) -> str:
    """What a colourspace knob means.

    Args:
        shown: its value: a name; ``default (linear)``; a name and, after a tab, where it stands in
            the menu.

    Returns:
        The name; "" for a default that is not resolved.
    """
    name = shown.split("\t")[0].strip()
    while True:
        default = _DEFAULT.match(name)
        if default is None:
            break
        name = default.group(1).strip()
    return "" if name == "default" else name


def server_name(shown: str) -> str:
    """The server's name of what a colourspace knob shows; one that it may not know stays as it is,
    for the server to refuse with the nearest it has."""
    name = plain_name(shown)
    return _CURVES.get(name, name)
