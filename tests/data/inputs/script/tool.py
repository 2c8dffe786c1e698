#!/usr/bin/env python3
# /// script
# requires-python = ">=3.9"
# dependencies = [
#     "rich",
#     "colorama; sys_platform == 'win32'",
# ]
# ///
print("a tool")
