"""The playbook and its roles, packaged as data (``appliance.ansible``)."""
