"""Plans that choose the bits of converters, layer by layer, together with the gains."""
