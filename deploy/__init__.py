"""Templates of deployment files, one per output, packaged as data (``appliance.deploy``)."""
