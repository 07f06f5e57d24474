-- Instances, forwards and network ACLs are stored too, of which an older
-- version knows nothing: it would take their networks away from them.
UPDATE store SET id = 1;
