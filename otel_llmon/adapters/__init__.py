"""Our words in other libraries' places: each module is named after the library or the place that it fits."""
