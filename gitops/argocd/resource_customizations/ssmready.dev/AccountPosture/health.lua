-- The conditions are those that kstatus reads: Reconciling and Stalled are there only while True, and never together.
-- What they and their reasons mean: https://ssm-ready.github.io/ssm-ready/troubleshooting.html
local function condition(type)
  for _, c in ipairs(obj.status.conditions or {}) do
    if c.type == type then
      return c
    end
  end
  return nil
end

if obj.spec ~= nil and obj.spec.suspend then
  return { status = "Suspended", message = "spec.suspend is true" }
end
if obj.status == nil then
  return { status = "Progressing", message = "Waiting for the first result" }
end

local reconciling = condition("Reconciling")
if obj.status.observedGeneration ~= obj.metadata.generation then
  -- The outcome is not known yet, but what is being done may be.
  if reconciling ~= nil and reconciling.observedGeneration == obj.metadata.generation then
    return { status = "Progressing", message = reconciling.message }
  end
  return { status = "Progressing", message = "Waiting for this generation to be looked at" }
end

local stalled = condition("Stalled")
if stalled ~= nil and stalled.status == "True" then
  return { status = "Degraded", message = stalled.message }
end
if reconciling ~= nil and reconciling.status == "True" then
  return { status = "Progressing", message = reconciling.message }
end
local ready = condition("Ready")
if ready ~= nil and ready.status == "True" then
  return { status = "Healthy", message = ready.message }
end
return { status = "Progressing", message = ready ~= nil and ready.message or "Waiting for the first result" }
