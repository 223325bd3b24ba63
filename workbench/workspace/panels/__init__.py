"""The panels of the workspace, a module each; it registers itself by `@panel`."""
