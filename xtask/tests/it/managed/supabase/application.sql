-- What a user builds on it.
CREATE TABLE public.profiles (
    id UUID PRIMARY KEY REFERENCES auth.users ON DELETE CASCADE,
    name TEXT NOT NULL,
    secret UUID NOT NULL DEFAULT extensions.gen_random_uuid()
);
ALTER TABLE public.profiles ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON public.profiles FOR SELECT TO authenticated USING (auth.uid() = id);
GRANT SELECT ON public.profiles TO authenticated;
CREATE TABLE public.orders (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    profile UUID NOT NULL REFERENCES public.profiles ON DELETE CASCADE,
    total NUMERIC NOT NULL
);
CREATE FUNCTION public.handle_new_user() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO public.profiles (id, name) VALUES (NEW.id, NEW.email);
    INSERT INTO public.orders (profile, total) VALUES (NEW.id, 1);
    RETURN NEW;
END $$;
CREATE TRIGGER on_auth_user_created AFTER INSERT ON auth.users
    FOR EACH ROW EXECUTE FUNCTION public.handle_new_user();
CREATE VIEW public.members AS
    SELECT u.email, p.name FROM public.profiles p JOIN auth.users u USING (id);
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO anon;
