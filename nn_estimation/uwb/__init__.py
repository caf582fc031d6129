"""UWB wing: range and TDoA bias correction, outlier gate, localization."""
