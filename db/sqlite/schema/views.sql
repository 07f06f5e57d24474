-- Views for whoever looks into the file with the sqlite3 shell. They are made
-- anew by every migration and nothing in netctl reads them. Passwords are
-- shown as they are stored.

DROP VIEW IF EXISTS networks;
CREATE VIEW networks AS
SELECT
	substr(key, length('/network/') + 1) AS name,
	value ->> '$.type'                   AS type,
	value ->> '$.description'            AS description,
	value -> '$.config'                  AS config,
	revision
FROM objects
WHERE key GLOB '/network/*' AND key NOT GLOB '/network/*/*';

DROP VIEW IF EXISTS network_members;
CREATE VIEW network_members AS
SELECT
	substr(key, 10, instr(substr(key, 10), '/') - 1)           AS network,
	substr(key, 10 + instr(substr(key, 10), '/') + length('member/')) AS member,
	value -> '$.config'                                        AS config,
	revision
FROM objects
WHERE key GLOB '/network/*/member/*';

DROP VIEW IF EXISTS instances;
CREATE VIEW instances AS
SELECT
	substr(key, length('/instance/') + 1) AS name,
	value ->> '$.type'                    AS type,
	value ->> '$.description'             AS description,
	coalesce(value ->> '$.running', 0)    AS running,
	value -> '$.config'                   AS config,
	value -> '$.devices'                  AS devices,
	revision
FROM objects
WHERE key GLOB '/instance/*';

DROP VIEW IF EXISTS instance_devices;
CREATE VIEW instance_devices AS
SELECT name AS instance, d.key AS device, c.key, c.value
FROM instances, json_each(instances.devices) AS d, json_each(d.value) AS c;

DROP VIEW IF EXISTS network_config;
CREATE VIEW network_config AS
SELECT name AS network, NULL AS member, c.key, c.value
FROM networks, json_each(networks.config) AS c
UNION ALL
SELECT network, member, c.key, c.value
FROM network_members, json_each(network_members.config) AS c;

DROP VIEW IF EXISTS server;
CREATE VIEW server AS
SELECT
	CASE key WHEN '/server' THEN NULL ELSE substr(key, length('/server/member/') + 1) END AS member,
	value -> '$.config' AS config,
	revision
FROM objects
WHERE key = '/server' OR key GLOB '/server/member/*';

DROP VIEW IF EXISTS server_config;
CREATE VIEW server_config AS
SELECT member, c.key, c.value
FROM server, json_each(server.config) AS c;

DROP VIEW IF EXISTS forwards;
CREATE VIEW forwards AS
SELECT
	substr(key, 10, instr(substr(key, 10), '/') - 1)  AS network,
	substr(key, 10 + instr(substr(key, 10), '/'))     AS listen_address,
	value ->> '$.description'                         AS description,
	value ->> '$.config.target_address'               AS target_address,
	value -> '$.ports'                                AS ports,
	value -> '$.config'                               AS config,
	revision
FROM objects
WHERE key GLOB '/forward/*/*';

DROP VIEW IF EXISTS acls;
CREATE VIEW acls AS
SELECT
	substr(key, length('/acl/') + 1) AS name,
	value ->> '$.description'        AS description,
	value -> '$.ingress'             AS ingress,
	value -> '$.egress'              AS egress,
	value -> '$.config'              AS config,
	revision
FROM objects
WHERE key GLOB '/acl/*';
